package pgbackrest

import (
	"bytes"
	"crypto/sha1"
	"encoding/hex"
	"encoding/json"
	"strconv"
	"strings"

	"github.com/lifeboat-dr/lifeboat/failure"
)

// format is the one that pgBackRest writes since its first release (REPOSITORY_FORMAT).
const format = 5

// info is one of pgBackRest's own files: sections of keys, whose values are JSON, with a checksum over all of it.
type info struct {
	version string // of the pgBackRest that wrote it
	pass    string // what the files are encrypted with that this one leads to
	entries []entry
}

// entry is one line.
type entry struct {
	section, key string
	value        []byte
}

// parseInfo reads a file and verifies its checksum, which is SHA-1 over the content written as one JSON object. Corrupt:
// it is none, or not as it was written; Unsupported: another format.
func parseInfo(text []byte) (*info, error) {
	var i info
	var section, claimed string
	var known int
	sum := sha1.New()
	sum.Write([]byte("{"))
	first := true
	begun := "" // the section that the checksum is in
	for n := 1; len(text) > 0; n++ {
		line, rest, _ := bytes.Cut(text, []byte("\n"))
		text = rest
		if len(line) == 0 {
			continue
		}
		if line[0] == '[' && line[len(line)-1] == ']' {
			section = string(line[1 : len(line)-1])
			continue
		}
		key, value, ok := splitLine(line)
		if !ok || section == "" {
			return nil, failure.New(failure.Corrupt, "understand", "line "+strconv.Itoa(n), "it is no KEY=VALUE in a [section]")
		}
		if section == "backrest" && key == "backrest-checksum" {
			if err := json.Unmarshal(value, &claimed); err != nil {
				return nil, failure.WrapAs(failure.Corrupt, err, "understand", "backrest-checksum")
			}
			continue
		}
		switch {
		case first:
			sum.Write([]byte(`"` + section + `":{`))
		case section != begun:
			sum.Write([]byte(`},"` + section + `":{`))
		default:
			sum.Write([]byte(","))
		}
		first, begun = false, section
		sum.Write(quote(key))
		sum.Write([]byte(":"))
		sum.Write(value)
		var err error
		switch {
		case section == "backrest" && key == "backrest-format":
			err = json.Unmarshal(value, &known)
		case section == "backrest" && key == "backrest-version":
			err = json.Unmarshal(value, &i.version)
		case section == "cipher" && key == "cipher-pass":
			err = json.Unmarshal(value, &i.pass)
		default:
			i.entries = append(i.entries, entry{section, key, value})
		}
		if err != nil {
			return nil, failure.WrapAs(failure.Corrupt, err, "understand", key)
		}
	}
	sum.Write([]byte("}}"))
	if got := hex.EncodeToString(sum.Sum(nil)); got != claimed {
		return nil, failure.New(failure.Corrupt, "verify", "the checksum", "it should be %q and is %s", claimed, got)
	}
	if known != format {
		return nil, failure.New(failure.Unsupported, "understand", "the repository's format", "it is %d, and this build knows %d", known, format)
	}
	return &i, nil
}

// splitLine parts key and value. Keys may have "=" in them, and only the value is JSON.
func splitLine(line []byte) (key string, value []byte, ok bool) {
	for at := 0; ; {
		n := bytes.IndexByte(line[at:], '=')
		if n < 0 {
			return "", nil, false
		}
		at += n
		if value = line[at+1:]; at > 0 && json.Valid(value) {
			return string(line[:at]), value, true
		}
		at++
	}
}

// quote writes a key as pgBackRest's JSON has it: only what must be escaped is.
func quote(s string) []byte {
	var b bytes.Buffer
	b.WriteByte('"')
	for _, c := range []byte(s) {
		if n := strings.IndexByte("\"\\\n\r\t\b\f", c); n >= 0 {
			b.WriteByte('\\')
			c = `"\nrtbf`[n]
		}
		b.WriteByte(c)
	}
	b.WriteByte('"')
	return b.Bytes()
}
