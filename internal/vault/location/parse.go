package location

import (
	"net/url"
	"path"
	"strings"

	"github.com/lifeboat-dr/lifeboat/failure"
)

// The schemes that there are stores for.
const (
	Local  = "local"
	Rest   = "rest"
	S3     = "s3"
	Memory = "memory"
)

// supported is the hint for what is not.
const supported = "write a path, local:/path, s3:https://host/bucket/prefix, s3:host/bucket/prefix or " +
	"rest:https://host:8000/path/"

// foreign are the schemes that restic knows and Lifeboat does not.
var foreign = map[string]string{"b2": "Backblaze B2", "gs": "Google Cloud Storage", "azure": "Azure Blob Storage",
	"sftp": "SFTP", "swift": "OpenStack Swift", "rclone": "rclone"}

// Location is a vault's URL, understood. Credentials that stood in it are kept apart: neither String nor any verb of
// package fmt shows them.
type Location struct {
	Scheme string // Local, Rest, S3 or Memory
	// Path is the folder of Local, as it was written, and the name of Memory.
	Path string
	// Endpoint is the server's URL, without credentials: with Rest the repository's, which ends in a slash, or
	// http+unix:///path/of/socket:/path/; with S3 only scheme and host.
	Endpoint string
	Bucket   string // S3
	Prefix   string // S3: within the bucket, without slashes around it

	user credentials
}

// credentials are a user's name and a password that stood in a URL.
type credentials struct{ name, password *string }

// User gives the user's name that stood in the URL, and whether there was one or a password.
func (l Location) User() (name string, there bool) {
	if l.user.name == nil {
		return "", false
	}
	return *l.user.name, true
}

// HasPassword reports whether a password stood in the URL. What is written down (lifeboat.yaml, a plan) must not have
// one.
func (l Location) HasPassword() bool { return l.user.password != nil }

// String is the location in restic's spelling, without credentials.
func (l Location) String() string {
	switch l.Scheme {
	case Local:
		if isPath(l.Path) {
			return l.Path
		}
		return "local:" + l.Path
	case Rest:
		return "rest:" + l.Endpoint
	case S3:
		return "s3:" + strings.TrimSuffix(l.Endpoint+"/"+l.Bucket+"/"+l.Prefix, "/")
	}
	return l.Scheme + ":" + l.Path
}

// Parse reads a URL in restic's spelling: a path, local:/path (or file:/path), s3:https://host/bucket/prefix,
// s3:host/bucket/prefix, rest:https://host/path/, rest:http+unix:///path/of/socket:/path/, memory:name. Errors are
// Unsupported for what restic knows and Lifeboat does not, and Invalid for the rest; they repeat nothing that may be a
// password.
func Parse(text string) (Location, error) {
	if strings.TrimSpace(text) == "" {
		return Location{}, failure.New(failure.Invalid, "read the vault's URL", "", "it is empty").WithHint("%s", supported)
	}
	if strings.ContainsAny(text, "\x00\r\n") {
		return Location{}, failure.New(failure.Invalid, "read the vault's URL", "", "it has a line break or a NUL in it")
	}
	scheme, rest, _ := strings.Cut(text, ":")
	switch {
	case isPath(text):
		return Location{Scheme: Local, Path: text}, nil
	case scheme == Local:
		return parseLocal(rest)
	case scheme == "file":
		return parseLocal(withoutHost(rest))
	case scheme == Rest:
		return parseRest(rest)
	case scheme == S3:
		return parseS3(rest)
	case scheme == Memory:
		return Location{Scheme: Memory, Path: rest}, nil
	}
	if name, known := foreign[scheme]; known {
		return Location{}, failure.New(failure.Unsupported, "read the vault's URL", scheme+":…", "there is no store for %s", name).
			WithHint("%s; to take over what is there, copy it with restic copy into one of these", supported)
	}
	return Location{}, failure.New(failure.Invalid, "read the vault's URL", "", "it begins with no scheme that is known").
		WithHint("%s; a path with a colon in it needs local: before it", supported)
}

// Redact is text without credentials, for messages; also when it cannot be understood.
func Redact(text string) string {
	if l, err := Parse(text); err == nil {
		return l.String()
	}
	scheme, _, found := strings.Cut(text, ":")
	if _, known := foreign[scheme]; found && (known || scheme == Rest || scheme == S3) {
		return scheme + ":…"
	}
	return "…"
}

// isPath reports whether text is a path as it stands: without a colon, or with none before the first slash.
func isPath(text string) bool {
	scheme, _, found := strings.Cut(text, ":")
	return strings.TrimSpace(text) != "" && (!found || strings.ContainsAny(scheme, `/\`))
}

func parseLocal(folder string) (Location, error) {
	if folder == "" {
		return Location{}, failure.New(failure.Invalid, "read the vault's URL", "local:", "no folder is named")
	}
	return Location{Scheme: Local, Path: folder}, nil
}

// withoutHost takes the slashes of file:///path away.
func withoutHost(text string) string {
	if after, ok := strings.CutPrefix(text, "///"); ok {
		return "/" + after
	}
	return text
}

// parseRest reads what follows rest: as restic does, and refuses what a repository's URL cannot have.
func parseRest(text string) (Location, error) {
	wrong := func(format string, args ...any) (Location, error) {
		return Location{}, failure.New(failure.Invalid, "read the vault's URL", "rest:…", format, args...).
			WithHint("write rest:https://host:8000/path/; of a user's name and password in it, percent-encode what is no letter or digit")
	}
	u, err := url.Parse(text)
	if err != nil {
		return wrong("what follows rest: is not a URL") // the cause repeats it
	}
	l := Location{Scheme: Rest}
	switch u.Scheme {
	case "http", "https":
		if u.Hostname() == "" {
			return wrong("the URL names no host")
		}
	case "http+unix":
		socket, _, _ := strings.Cut(u.Path, ":")
		if u.Host != "" || !strings.HasPrefix(socket, "/") || socket == "/" {
			return wrong("the URL names no socket: want http+unix:///path/of/socket:/path/")
		}
		if !strings.Contains(u.Path, ":") {
			u.Path += ":"
		}
	default:
		return wrong("the URL's scheme is neither http, https nor http+unix")
	}
	if u.RawQuery != "" || u.ForceQuery || u.Fragment != "" {
		return wrong("the URL has a query or a fragment")
	}
	if u.User != nil {
		name := u.User.Username()
		l.user.name = &name
		if password, set := u.User.Password(); set {
			l.user.password = &password
		}
		u.User = nil
	}
	if !strings.HasSuffix(u.Path, "/") {
		u = u.JoinPath("/")
	}
	l.Endpoint = u.String()
	return l, nil
}

// parseS3 reads what follows s3:. Without a scheme the server is asked by https, as with restic.
func parseS3(text string) (Location, error) {
	wrong := func(format string, args ...any) (Location, error) {
		return Location{}, failure.New(failure.Invalid, "read the vault's URL", "s3:…", format, args...).
			WithHint("write s3:https://host/bucket/prefix, or s3:s3.amazonaws.com/bucket/prefix for AWS")
	}
	if !strings.HasPrefix(text, "http://") && !strings.HasPrefix(text, "https://") {
		text = "https://" + strings.TrimPrefix(text, "//")
	}
	u, err := url.Parse(text)
	if err != nil {
		return wrong("what follows s3: is not a URL")
	}
	if u.User != nil {
		return wrong("the URL has credentials in it: they come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or from lifeboat.yaml as references")
	}
	if u.RawQuery != "" || u.ForceQuery || u.Fragment != "" {
		return wrong("the URL has a query or a fragment")
	}
	bucket, prefix, _ := strings.Cut(strings.TrimPrefix(u.Path, "/"), "/")
	if u.Hostname() == "" || bucket == "" {
		return wrong("the URL names no host or no bucket")
	}
	if prefix != "" {
		prefix = strings.Trim(path.Clean("/"+prefix), "/")
	}
	return Location{Scheme: S3, Endpoint: u.Scheme + "://" + u.Host, Bucket: bucket, Prefix: prefix}, nil
}
