package location

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/lifeboat-dr/lifeboat/failure"
)

// TestParse holds restic's spelling.
func TestParse(t *testing.T) {
	for _, tt := range []struct {
		url                              string
		scheme, path, endpoint           string
		bucket, prefix, name, shown, key string
	}{
		{url: "/srv/vault", scheme: Local, path: "/srv/vault", shown: "/srv/vault"},
		{url: "vault", scheme: Local, path: "vault", shown: "vault"},
		{url: "./a:b", scheme: Local, path: "./a:b", shown: "./a:b"},
		{url: "/srv/a:b", scheme: Local, path: "/srv/a:b", shown: "/srv/a:b"},
		{url: "local:/srv/a:b", scheme: Local, path: "/srv/a:b", shown: "/srv/a:b"},
		{url: "local:rest:x", scheme: Local, path: "rest:x", shown: "local:rest:x"},
		{url: "local:vault", scheme: Local, path: "vault", shown: "vault"},
		{url: "file:/srv/vault", scheme: Local, path: "/srv/vault", shown: "/srv/vault"},
		{url: "file:///srv/vault", scheme: Local, path: "/srv/vault", shown: "/srv/vault"},
		{url: "memory:a", scheme: Memory, path: "a", shown: "memory:a"},
		{url: "rest:http://h:8000/", scheme: Rest, endpoint: "http://h:8000/", shown: "rest:http://h:8000/"},
		{url: "rest:https://h/a/b", scheme: Rest, endpoint: "https://h/a/b/", shown: "rest:https://h/a/b/"},
		{url: "rest:https://[::1]:8000/a/", scheme: Rest, endpoint: "https://[::1]:8000/a/", shown: "rest:https://[::1]:8000/a/"},
		{url: "rest:https://h", scheme: Rest, endpoint: "https://h/", shown: "rest:https://h/"},
		{url: "rest:https://alice:p%2Fw@h/a/", scheme: Rest, endpoint: "https://h/a/", name: "alice", key: "p/w", shown: "rest:https://h/a/"},
		{url: "rest:https://alice@h/a/", scheme: Rest, endpoint: "https://h/a/", name: "alice", shown: "rest:https://h/a/"},
		{url: "rest:http+unix:///run/s.socket:/a/", scheme: Rest, endpoint: "http+unix:///run/s.socket:/a/", shown: "rest:http+unix:///run/s.socket:/a/"},
		{url: "rest:http+unix:///run/s.socket", scheme: Rest, endpoint: "http+unix:///run/s.socket:/", shown: "rest:http+unix:///run/s.socket:/"},
		{url: "s3:https://h:9000/b/p/q/", scheme: S3, endpoint: "https://h:9000", bucket: "b", prefix: "p/q", shown: "s3:https://h:9000/b/p/q"},
		{url: "s3:http://h:9000/b", scheme: S3, endpoint: "http://h:9000", bucket: "b", shown: "s3:http://h:9000/b"},
		{url: "s3:s3.amazonaws.com/b/p", scheme: S3, endpoint: "https://s3.amazonaws.com", bucket: "b", prefix: "p", shown: "s3:https://s3.amazonaws.com/b/p"},
		{url: "s3://s3.amazonaws.com/b//p/../q", scheme: S3, endpoint: "https://s3.amazonaws.com", bucket: "b", prefix: "q", shown: "s3:https://s3.amazonaws.com/b/q"},
	} {
		got, err := Parse(tt.url)
		if err != nil {
			t.Errorf("%s: %v", tt.url, err)
			continue
		}
		name, _ := got.User()
		key := ""
		if got.HasPassword() {
			key = *got.user.password
		}
		want := fmt.Sprint(tt.scheme, tt.path, tt.endpoint, tt.bucket, tt.prefix, name, key, tt.shown)
		if got := fmt.Sprint(got.Scheme, got.Path, got.Endpoint, got.Bucket, got.Prefix, name, key, got.String()); got != want {
			t.Errorf("%s: got %s, want %s", tt.url, got, want)
		}
		again, err := Parse(got.String())
		if err != nil || again.String() != got.String() {
			t.Errorf("%s: shown as %s, which is read as %s, %v", tt.url, got, again, err)
		}
	}
}

// TestParseRefuses holds what each refusal is, that it says what to do, and that none repeats a password.
func TestParseRefuses(t *testing.T) {
	for url, want := range map[string]failure.Kind{
		"":                                    failure.Invalid,
		"  ":                                  failure.Invalid,
		"local:":                              failure.Invalid,
		"/srv/a\nb":                           failure.Invalid,
		"b2:bucket:path":                      failure.Unsupported,
		"gs:bucket:/":                         failure.Unsupported,
		"azure:c:/":                           failure.Unsupported,
		"sftp:user@host:/srv":                 failure.Unsupported,
		"swift:c:/":                           failure.Unsupported,
		"rclone:r:p":                          failure.Unsupported,
		"ftp:xyz":                             failure.Invalid,
		"https://u:hunter2@h/a/":              failure.Invalid,
		"rest:":                               failure.Invalid,
		"rest:/srv":                           failure.Invalid,
		"rest:ftp://h/":                       failure.Invalid,
		"rest:https:///a/":                    failure.Invalid,
		"rest:https://u:hunter2#x@h/":         failure.Invalid,
		"rest:https://u:hunter2/x@h/":         failure.Invalid,
		"rest:https://u:hunter2@h/?a=b":       failure.Invalid,
		"rest:https://u:hunter2@h/%zz":        failure.Invalid,
		"rest:http+unix://host/run/s:/":       failure.Invalid,
		"rest:http+unix:///:/a/":              failure.Invalid,
		"s3:":                                 failure.Invalid,
		"s3:https://h":                        failure.Invalid,
		"s3:host":                             failure.Invalid,
		"s3:https://k:hunter2@h/b":            failure.Invalid,
		"s3:k:hunter2@h/b":                    failure.Invalid,
		"s3:https://h/b?versionId=hunter2":    failure.Invalid,
		"sftp:u:hunter2@host:/srv":            failure.Unsupported,
		"mysql://u:hunter2@localhost/vaults/": failure.Invalid,
	} {
		got, err := Parse(url)
		if !errors.Is(err, want) {
			t.Errorf("%q: %v, %v, want %s", url, got, err, want)
			continue
		}
		if text := err.Error() + failure.HintOf(err) + Redact(url); strings.Contains(text, "hunter2") {
			t.Errorf("%q: the password is repeated: %s", url, text)
		}
		if failure.HintOf(err) == "" && !strings.Contains(url, "\n") && url != "local:" {
			t.Errorf("%q: %v says not what to do", url, err)
		}
	}
}

// TestNoPasswordIsShown holds that a parsed location hides what it was given by every verb.
func TestNoPasswordIsShown(t *testing.T) {
	l, err := Parse("rest:https://alice:hunter2@h/a/")
	if err != nil || !l.HasPassword() {
		t.Fatal(l, err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		if text := fmt.Sprintf(verb+" "+verb, l, &l); strings.Contains(text, "hunter2") || strings.Contains(text, "68756e74657232") {
			t.Errorf("%s shows it: %s", verb, text)
		}
	}
}

// FuzzParse holds that nothing panics, that what is shown is read as the same place, and that a password never shows.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{"/srv", "local:a", "rest:https://u:p@h:1/a", "rest:http+unix:///s:/a/", "s3:h/b/p", "s3:http://h/b", "b2:x", "rest:", "file:///a"} {
		f.Add(seed, "hunter2")
	}
	f.Fuzz(func(t *testing.T, text, password string) {
		if l, err := Parse(text); err == nil {
			again, err := Parse(l.String())
			if err != nil || again.String() != l.String() || again.Scheme != l.Scheme || again.Path != l.Path {
				t.Errorf("%q is shown as %q, which is %q, %v", text, l, again, err)
			}
		}
		if len(password) < 6 || strings.Trim(password, "abcdefghijklmnopqrstuvwxyz0123456789") != "" || strings.Contains(text, password) {
			return
		}
		for _, url := range []string{"rest:https://u:" + password + "@" + text, "s3:https://u:" + password + "@" + text, "rest:" + text + password + "@h/"} {
			l, err := Parse(url)
			shown := fmt.Sprintf("%v %+v %s %v", l, l, Redact(url), err)
			if name, _ := l.User(); strings.Contains(shown, password) && !strings.Contains(l.Endpoint, password) && !strings.Contains(name, password) {
				t.Errorf("%q shows the password: %s", url, shown)
			}
		}
	})
}
