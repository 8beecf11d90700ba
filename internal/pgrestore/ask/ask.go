// Package ask is the program that PostgreSQL runs for each file of log that a recovery needs: it asks the lifeboat that
// conducts the recovery, which puts the file in its place.
//
// It is started once for each segment, so it imports next to nothing and does nothing before it is needed. It reads no
// vault. Start with [Main].
package ask

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"
)

// Program is the first word of its command line: lifeboat pg-wal SOCKET %f %p.
const Program = "pg-wal"

// Exit codes. PostgreSQL takes 1 for "there is no such file", which ends the recovery in order, and codes above 125 for
// something that no recovery may go on after (RestoreArchivedFile in its source).
const (
	There    = 0
	NotThere = 1
	Fatal    = 255
)

// First letters of an answer; what follows a fatal one is for people.
const (
	AnswerThere    = "+"
	AnswerNotThere = "-"
	AnswerFatal    = "!"
)

// Over is what lies in the socket's place when the recovery is over: then nothing is there any more.
const Over = "over\n"

// patience is for a conductor that does not answer a connection; for an answer it is waited without end, for a segment may
// come from far away.
const patience = 30 * time.Second

// Main asks at the socket args[0] for the file named args[1], to be put at args[2], and gives the exit code for PostgreSQL.
func Main(args []string, stderr io.Writer) int {
	if len(args) != 3 {
		fmt.Fprintln(stderr, "lifeboat pg-wal: it is started by PostgreSQL, with a socket, a name and a path")
		return Fatal
	}
	code, err := ask(args[0], args[1], args[2])
	if err != nil {
		fmt.Fprintf(stderr, "lifeboat pg-wal: %s: %v\n", args[1], err)
		return Fatal
	}
	return code
}

// ask asks once. Whoever conducts the recovery may end it meanwhile, and says so before it turns anybody away.
func ask(socket, name, path string) (int, error) {
	code, err := askOnce(socket, name, path)
	if err != nil {
		if text, readErr := os.ReadFile(socket); readErr == nil && string(text) == Over {
			return NotThere, nil
		}
	}
	return code, err
}

func askOnce(socket, name, path string) (int, error) {
	conn, err := net.DialTimeout("unix", socket, patience)
	if err != nil {
		return Fatal, fmt.Errorf("whoever conducts the recovery is not there: %w", err)
	}
	defer conn.Close()
	if _, err := fmt.Fprintf(conn, "%s %s\n", name, path); err != nil {
		return Fatal, fmt.Errorf("ask: %w", err)
	}
	answer, err := bufio.NewReader(conn).ReadString('\n')
	switch {
	case err != nil:
		return Fatal, fmt.Errorf("whoever conducts the recovery went away: %w", err)
	case strings.HasPrefix(answer, AnswerThere):
		return There, nil
	case strings.HasPrefix(answer, AnswerNotThere):
		return NotThere, nil
	}
	return Fatal, errors.New(strings.TrimSpace(strings.TrimPrefix(answer, AnswerFatal)))
}
