package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// configName is the file that commands look for, from the working folder upward.
const configName = "lifeboat.yaml"

// invocation is one command line being carried out: what it may use, and its global flags.
type invocation struct {
	Deps
	lines *lineReader

	config  string // -c
	state   string // --state
	format  string // -o
	verbose int    // -v, counted
	noColor bool   // --no-color

	wroteJSON  bool // the one document is on Out
	inputTaken bool // standard input is data: no password can be read from it
	gone       bool // standard input has ended: nobody can be asked any more
}

// json reports whether the reply is to be one JSON document.
func (inv *invocation) json() bool { return inv.format == "json" }

// human is where words for people go: standard output, unless a document has that for itself.
func (inv *invocation) human() io.Writer {
	if inv.format == "" || inv.format == "text" {
		return inv.Out
	}
	return inv.Err
}

// interactive reports whether somebody sits at standard input and can be asked.
func (inv *invocation) interactive() bool { return !inv.gone && inv.IsTerminal(inv.In) }

// command is a command line of Lifeboat that the reader can type here: it names the same configuration.
func (inv *invocation) command(words ...string) string {
	return inv.program() + " " + strings.Join(words, " ")
}

// program is how command lines of Lifeboat begin.
func (inv *invocation) program() string {
	line := "lifeboat"
	if inv.config != "" {
		line += " -c " + shellWord(inv.config)
	}
	if inv.state != "" {
		line += " --state " + shellWord(inv.state)
	}
	return line
}

// shellWord quotes s for a POSIX shell where that is needed.
func shellWord(s string) string {
	if s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:@=+,") == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// say writes one line for people.
func (inv *invocation) say(format string, args ...any) {
	fmt.Fprintf(inv.human(), format+"\n", args...)
}

// warn writes one line to standard error.
func (inv *invocation) warn(format string, args ...any) {
	fmt.Fprintf(inv.Err, "warning: "+format+"\n", args...)
}

// writeJSON writes the command's one document, indented.
func (inv *invocation) writeJSON(v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return failure.WrapAs(failure.Internal, err, "write", "reply")
	}
	return inv.write(append(b, '\n'))
}

// writeJSONLine writes one document of many, each on a line of its own.
func (inv *invocation) writeJSONLine(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return failure.WrapAs(failure.Internal, err, "write", "reply")
	}
	return inv.write(append(b, '\n'))
}

// write puts a document on standard output. An output that cannot be written is an error: a reader who gets half a
// document must not be told that all is well.
func (inv *invocation) write(b []byte) error {
	inv.wroteJSON = true
	if _, err := inv.Out.Write(b); err != nil {
		return failure.WrapAs(failure.Unavailable, err, "write", "standard output")
	}
	return nil
}

// fail shows err: as words on standard error, and with -o json also as the one document on standard output, unless
// another one is there already.
func (inv *invocation) fail(args []string, err error) {
	if inv.wroteJSON && errors.Is(err, syscall.EPIPE) {
		return // the reader has had enough, as with head(1)
	}
	inv.showError(err)
	if inv.wroteJSON || !(inv.json() || asksJSON(args)) {
		return
	}
	b, jsonErr := json.MarshalIndent(map[string]*failure.Error{"error": failure.From(err)}, "", "  ")
	if jsonErr == nil {
		inv.Out.Write(append(b, '\n')) // the error is on standard error already
	}
}

// asksJSON looks for -o json in a command line that was not understood.
func asksJSON(args []string) bool {
	for i, arg := range args {
		switch arg {
		case "--":
			return false
		case "-ojson", "-o=json", "--format=json":
			return true
		case "-o", "--format":
			return slices.Contains(args[i+1:min(i+2, len(args))], "json")
		}
	}
	return false
}

// logger writes to standard error at the level that -v asks for.
func (inv *invocation) logger() *slog.Logger {
	level := slog.LevelWarn
	switch {
	case inv.verbose == 1:
		level = slog.LevelInfo
	case inv.verbose > 1:
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(inv.Err, &slog.HandlerOptions{Level: level}))
}

// configPath finds the configuration: -c, then LIFEBOAT_CONFIG, then lifeboat.yaml from the working folder upward.
func (inv *invocation) configPath() (string, error) {
	if inv.config != "" {
		return inv.config, nil
	}
	if path := inv.Getenv("LIFEBOAT_CONFIG"); path != "" {
		return path, nil
	}
	dir, err := inv.Getwd()
	if err != nil {
		return "", failure.WrapAs(failure.Unavailable, err, "find", configName)
	}
	for {
		path := filepath.Join(dir, configName)
		switch _, err := os.Stat(path); {
		case err == nil:
			return path, nil
		case !errors.Is(err, fs.ErrNotExist):
			return "", failure.WrapAs(failure.Denied, err, "find", configName)
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", failure.New(failure.NotFound, "", "", "there is no %s here or in any folder above", configName).
				WithHint("write one with `lifeboat init`, or name it with -c FILE or LIFEBOAT_CONFIG")
		}
		dir = parent
	}
}

// withService opens the service, calls f, and closes it. An error of Close does not hide one of f.
func (inv *invocation) withService(ctx context.Context, f func(svc api.Service) error) error {
	path, err := inv.configPath()
	if err != nil {
		return err
	}
	svc, err := inv.Open(ctx, OpenOptions{Config: path, State: inv.state, Log: inv.logger()})
	if err != nil {
		return err
	}
	err = f(svc)
	if closeErr := svc.Close(); closeErr != nil {
		if err == nil {
			return failure.Wrap(closeErr, "close", "")
		}
		inv.warn("close: %v", closeErr)
	}
	return err
}

// by is who acts: the flag's value or the person at the keyboard.
func (inv *invocation) by(flag string) string {
	if flag != "" {
		return flag
	}
	return inv.Whoami()
}

// find resolves a shortened run id, or "last", to a run.
func find(ctx context.Context, svc api.Service, run string) (*api.RunView, error) {
	return svc.Run(ctx, model.RunID(run))
}
