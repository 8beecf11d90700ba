package filter

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf16"

	"github.com/lifeboat-dr/lifeboat/failure"
)

// ReadPatterns reads files of patterns, one a line. White space around a line, empty lines and lines that begin with
// "#" do not count; $NAME and ${NAME} are replaced by env's variable (nil: os.Getenv), and $$ by a dollar sign. A file
// may be UTF-16 with a byte order mark.
func ReadPatterns(files []string, env func(string) string) ([]string, error) {
	if env == nil {
		env = os.Getenv
	}
	var patterns []string
	for _, name := range files {
		lines, err := readLines(name, nil)
		if err != nil {
			return nil, failure.Wrap(err, "read patterns", name)
		}
		for _, line := range lines {
			if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
				continue
			}
			patterns = append(patterns, os.Expand(line, func(v string) string {
				if v == "$" {
					return "$"
				}
				return env(v)
			}))
		}
	}
	return patterns, nil
}

// Lists name files that say what is backed up, as restic's --files-from options do. "-" is standard input.
type Lists struct {
	// Glob lists have a pattern of package path/filepath a line; white space around it, empty lines and lines that begin
	// with "#" do not count.
	Glob []string
	// Verbatim lists have a path a line; only empty lines do not count.
	Verbatim []string
	// Raw lists have paths that end with a zero byte each.
	Raw []string
}

// Read gives the paths of all lists, and the patterns that match nothing.
func (l Lists) Read(stdin io.Reader) (paths, unmatched []string, err error) {
	for _, name := range l.Glob {
		lines, err := readLines(name, stdin)
		if err != nil {
			return nil, nil, failure.Wrap(err, "read the list of files", name)
		}
		for _, line := range lines {
			if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
				continue
			}
			found, err := filepath.Glob(line)
			if err != nil {
				return nil, nil, failure.New(failure.Invalid, "read the list of files", name, "%q is not a well-formed pattern", line)
			}
			if len(found) == 0 {
				unmatched = append(unmatched, line)
			}
			paths = append(paths, found...)
		}
	}
	for _, name := range l.Verbatim {
		lines, err := readLines(name, stdin)
		if err != nil {
			return nil, nil, failure.Wrap(err, "read the list of files", name)
		}
		paths = append(paths, slices.DeleteFunc(lines, func(line string) bool { return line == "" })...)
	}
	for _, name := range l.Raw {
		found, err := readRaw(name, stdin)
		if err != nil {
			return nil, nil, failure.Wrap(err, "read the list of files", name)
		}
		paths = append(paths, found...)
	}
	return paths, unmatched, nil
}

// readRaw reads paths that end with a zero byte each.
func readRaw(name string, stdin io.Reader) ([]string, error) {
	data, err := readAll(name, stdin)
	if err != nil || len(data) == 0 {
		return nil, err
	}
	if data[len(data)-1] != 0 {
		return nil, failure.New(failure.Invalid, "read", name, "the last path does not end with a zero byte: the list may be cut off")
	}
	paths := strings.Split(string(data[:len(data)-1]), "\x00")
	if slices.Contains(paths, "") {
		return nil, failure.New(failure.Invalid, "read", name, "there is an empty path")
	}
	return paths, nil
}

func readLines(name string, stdin io.Reader) ([]string, error) {
	data, err := readAll(name, stdin)
	if err != nil {
		return nil, err
	}
	if name != "-" {
		if data, err = decode(data); err != nil {
			return nil, err
		}
	}
	var lines []string
	s := bufio.NewScanner(bytes.NewReader(data))
	s.Buffer(nil, len(data)+1)
	for s.Scan() {
		lines = append(lines, s.Text())
	}
	return lines, s.Err()
}

func readAll(name string, stdin io.Reader) ([]byte, error) {
	var data []byte
	var err error
	switch {
	case name == "-" && stdin == nil:
		return nil, failure.New(failure.Invalid, "read", name, "standard input cannot be read here")
	case name == "-":
		data, err = io.ReadAll(stdin)
	default:
		data, err = os.ReadFile(name)
	}
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil, failure.WrapAs(failure.NotFound, err, "", "")
	case errors.Is(err, os.ErrPermission):
		return nil, failure.WrapAs(failure.Denied, err, "", "")
	case err != nil:
		return nil, failure.WrapAs(failure.Unavailable, err, "", "")
	}
	return data, nil
}

// decode takes away a byte order mark, and makes UTF-16 that has one UTF-8.
func decode(data []byte) ([]byte, error) {
	var order binary.ByteOrder
	switch {
	case bytes.HasPrefix(data, []byte("\xef\xbb\xbf")):
		return data[3:], nil
	case bytes.HasPrefix(data, []byte("\xfe\xff")):
		order = binary.BigEndian
	case bytes.HasPrefix(data, []byte("\xff\xfe")):
		order = binary.LittleEndian
	default:
		return data, nil
	}
	if len(data)%2 != 0 {
		return nil, failure.New(failure.Invalid, "read", "", "it begins as UTF-16 and has an odd number of bytes")
	}
	units := make([]uint16, 0, len(data)/2)
	for i := 2; i < len(data); i += 2 {
		units = append(units, order.Uint16(data[i:]))
	}
	return []byte(string(utf16.Decode(units))), nil
}
