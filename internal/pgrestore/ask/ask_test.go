package ask_test

import (
	"bufio"
	"bytes"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lifeboat-dr/lifeboat/internal/pgrestore/ask"
)

// TestAnswers asks whoever answers, or does not, and gives PostgreSQL's exit codes. Only an answer, or the word that it is over,
// may be taken for the end of the log.
func TestAnswers(t *testing.T) {
	for _, tt := range []struct {
		name   string
		answer string // of whoever listens; "": goes away without one
		code   int
		says   string
	}{
		{"there", ask.AnswerThere + "\n", ask.There, ""},
		{"not there", ask.AnswerNotThere + "\n", ask.NotThere, ""},
		{"fatal", ask.AnswerFatal + "the vault is gone\n", ask.Fatal, "the vault is gone"},
		{"nonsense", "?\n", ask.Fatal, "?"},
		{"cut off", ask.AnswerThere, ask.Fatal, "went away"},
		{"gone", "", ask.Fatal, "went away"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir, err := os.MkdirTemp("", "ask") // a socket's path is short
			if err != nil {
				t.Fatal(err)
			}
			defer os.RemoveAll(dir)
			socket := filepath.Join(dir, "s")
			l, err := net.Listen("unix", socket)
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			asked := make(chan string, 1)
			go func() {
				conn, err := l.Accept()
				if err != nil {
					close(asked)
					return
				}
				defer conn.Close()
				line, _ := bufio.NewReader(conn).ReadString('\n')
				asked <- line
				_, _ = conn.Write([]byte(tt.answer))
			}()
			var said bytes.Buffer
			code := ask.Main([]string{socket, "000000010000000000000001", "pg_wal/RECOVERYXLOG"}, &said)
			if got := <-asked; got != "000000010000000000000001 pg_wal/RECOVERYXLOG\n" {
				t.Errorf("it asked %q", got)
			}
			if code != tt.code || !strings.Contains(said.String(), tt.says) || tt.says == "" && said.Len() > 0 {
				t.Errorf("got %d, %q", code, said.String())
			}
		})
	}
}

func TestNobodyAnswers(t *testing.T) {
	dir := t.TempDir()
	over, other := filepath.Join(dir, "over"), filepath.Join(dir, "other")
	for path, text := range map[string]string{over: ask.Over, other: "over"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for path, want := range map[string]int{over: ask.NotThere, other: ask.Fatal, filepath.Join(dir, "nothing"): ask.Fatal} {
		var said bytes.Buffer
		if got := ask.Main([]string{path, "name", "path"}, &said); got != want || (want == ask.Fatal) != (said.Len() > 0) {
			t.Errorf("%s: got %d, %q", filepath.Base(path), got, said.String())
		}
	}
	if got := ask.Main(nil, &bytes.Buffer{}); got != ask.Fatal {
		t.Errorf("without arguments: got %d", got)
	}
}
