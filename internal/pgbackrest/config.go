package pgbackrest

import (
	"bufio"
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/lifeboat-dr/lifeboat/failure"
)

// Location is where a repository is, and how it is opened, as pgbackrest.conf says it.
type Location struct {
	Type       string // posix or s3
	Path       string // a folder; of s3 the one in the bucket
	Passphrase string
	// Of s3.
	Bucket, Endpoint, Region    string
	AccessKey, SecretKey, Token string
	PathStyle                   bool
	CAFile                      string // authorities that the server's certificate is to be verified by; empty: the system's
	NoVerify                    bool   // the server's certificate is not verified
}

// ParseConfig reads from the text of a pgbackrest.conf where repository number (from 1 on) of a stanza is. Settings of the
// stanza go before those of [global], as with pgBackRest; those of [global:backup] and the like, and files that are
// included, are not looked at. NotFound: it has no such stanza; Unsupported: a repository that cannot be read from here,
// such as one on another host.
func ParseConfig(text []byte, stanza string, number int) (Location, error) {
	global, own, there, err := configLines(text, stanza)
	if err != nil {
		return Location{}, err
	}
	if !there {
		return Location{}, failure.New(failure.NotFound, "find in pgbackrest.conf", "["+stanza+"]", "there is no such stanza")
	}
	get := func(name string) string {
		for _, from := range []map[string]string{own, global} {
			for _, key := range []string{fmt.Sprintf("repo%d-%s", number, name), "repo-" + name} {
				if v, ok := from[key]; ok && (number == 1 || !strings.HasPrefix(key, "repo-")) {
					return v
				}
			}
		}
		return ""
	}
	l := Location{Type: get("type"), Path: get("path"), Passphrase: get("cipher-pass"), Bucket: get("s3-bucket"), Endpoint: get("s3-endpoint"),
		Region: get("s3-region"), AccessKey: get("s3-key"), SecretKey: get("s3-key-secret"), Token: get("s3-token"),
		PathStyle: get("s3-uri-style") == "path", CAFile: get("storage-ca-file"), NoVerify: get("storage-verify-tls") == "n"}
	if l.Type == "" {
		l.Type = "posix"
	}
	if l.Path == "" && (l.Type == "posix" || l.Type == "cifs") {
		l.Path = "/var/lib/pgbackrest"
	}
	if get("cipher-type") == "" || get("cipher-type") == "none" {
		l.Passphrase = ""
	}
	return l, l.check(get, number)
}

// check completes l, or says why it cannot be read.
func (l *Location) check(get func(string) string, number int) error {
	fail := func(format string, args ...any) *failure.Error {
		return failure.New(failure.Unsupported, "open the pgBackRest repository", "repo"+strconv.Itoa(number), format, args...)
	}
	if cipher := get("cipher-type"); !slices.Contains([]string{"", "none", "aes-256-cbc"}, cipher) {
		return fail("it is encrypted by %s", cipher)
	}
	if host := get("host"); host != "" {
		return fail("it is on the host %s", host).WithHint("run this there")
	}
	switch l.Type {
	case "posix":
	case "cifs":
		l.Type = "posix"
	case "s3":
		if host := get("storage-host"); host != "" {
			l.Endpoint = host
		}
		if port := get("storage-port"); port != "" && port != "443" {
			l.Endpoint += ":" + port
		}
	default:
		return fail("it is of type %s, and posix, cifs and s3 are read", l.Type).WithHint("copy it to a folder, and give that one by --from")
	}
	return nil
}

// configLines gives the settings of [global] and of a stanza. The first of several values of one name counts.
func configLines(text []byte, stanza string) (global, own map[string]string, there bool, err error) {
	global, own = map[string]string{}, map[string]string{}
	var into map[string]string
	lines := bufio.NewScanner(bytes.NewReader(text))
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		switch {
		case line == "" || line[0] == '#':
		case line[0] == '[':
			into = nil
			switch strings.TrimSuffix(line[1:], "]") {
			case "global":
				into = global
			case stanza:
				into, there = own, true
			}
		default:
			key, value, ok := strings.Cut(line, "=")
			if !ok {
				return nil, nil, false, failure.New(failure.Invalid, "read pgbackrest.conf", "line "+strconv.Itoa(n), "it is no KEY=VALUE")
			}
			key = strings.TrimSpace(key)
			if _, had := into[key]; into != nil && !had {
				into[key] = strings.TrimSpace(value)
			}
		}
	}
	if err := lines.Err(); err != nil {
		return nil, nil, false, failure.WrapAs(failure.Invalid, err, "read", "pgbackrest.conf")
	}
	return global, own, there, nil
}
