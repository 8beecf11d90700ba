package pgbackrest

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
)

// Manifest is what a backup consists of.
type Manifest struct {
	Label string
	// CopyStart is when files began to be copied, after the server had been told that a backup begins.
	CopyStart     time.Time
	Compression   Compression
	ChecksumPages bool // the cluster has page checksums, and they were verified
	// Paths are directories, and Files what lies in them, sorted by name. Names begin with pg_data, the data folder, or
	// pg_tblspc/OID, a tablespace.
	Paths  []Path
	Files  []File
	Spaces []Tablespace
	// Links are what was a symbolic link in the data folder, tablespaces left out, and where it led. What lies behind
	// them is among Paths and Files under the link's name.
	Links map[string]string

	raw        bool     // bundled files are without headers
	references []string // labels, in the order that block maps count them
	pass       string
}

// Owner is whom something belonged to; a name that could not be found out is empty.
type Owner struct {
	User, Group string
	Mode        fs.FileMode // permissions
}

// Path is a directory.
type Path struct {
	Name string
	Owner
}

// File is a file, and where its content lies.
type File struct {
	Name string
	Owner
	Size    int64
	ModTime time.Time
	SHA1    [20]byte // of the content
	// Reference is the backup in whose folder the content lies.
	Reference string
	// BadPages are blocks of the relation whose checksums were wrong when the backup was made, as [first, last]. Unread:
	// it has pages and there was something wrong that is not told by page.
	BadPages [][2]int64
	Unread   bool

	stored, bundle, offset            int64
	blockSize, blockChecksum, mapSize int64 // mapSize 0: not block-incremental
}

// Tablespace is a folder beside the data folder.
type Tablespace struct{ OID, Name, Location string }

// Names that the members of a manifest begin with.
const (
	DataName   = "pg_data"
	SpacesName = "pg_tblspc"
)

// Manifest reads what a backup consists of. NotFound: its manifest is gone, and so is the copy; Corrupt: neither is as it
// was written; Unsupported: it is compressed in a way that this build does not know.
func (r *Repo) Manifest(ctx context.Context, label string) (*Manifest, error) {
	p := path.Join("backup", r.Stanza, label, "backup.manifest")
	i, err := r.loadInfo(ctx, p, r.manifestPass)
	if err != nil {
		return nil, err
	}
	m, err := parseManifest(i)
	if err == nil && m.Label != label {
		err = failure.New(failure.Corrupt, "compare", "the label", "it is of backup %q", m.Label)
	}
	return m, failure.Wrap(err, "read", r.subject(p))
}

// owned are the keys that paths, files, and the defaults of both have alike.
type owned struct {
	Mode  string          `json:"mode"`
	User  json.RawMessage `json:"user"` // a name, or false
	Group json.RawMessage `json:"group"`
}

type fileJSON struct {
	owned
	BlockSize     int64             `json:"bi"`
	BlockChecksum int64             `json:"bic"`
	MapSize       int64             `json:"bim"`
	Bundle        int64             `json:"bni"`
	Offset        int64             `json:"bno"`
	SHA1          string            `json:"checksum"`
	PagesSound    *bool             `json:"checksum-page"`
	BadPages      []json.RawMessage `json:"checksum-page-error"` // numbers and [first, last]
	Reference     string            `json:"reference"`
	Stored        *int64            `json:"repo-size"`
	Size          *int64            `json:"size"`
	Time          int64             `json:"timestamp"`
}

// blockUnit is what sizes of blocks in a manifest are multiples of, and blockChecksumMin how long a block's checksum is
// that says nothing else (BLOCK_INCR_SIZE_FACTOR and BLOCK_INCR_CHECKSUM_SIZE_MIN).
const (
	blockUnit        = 8192
	blockChecksumMin = 6
	blockChecksumMax = 16
	blockMax         = 1 << 30
)

// manifestReader gathers lines; defaults come after what they are for.
type manifestReader struct {
	m           *Manifest
	files       []fileJSON
	paths       []owned
	file, path  owned
	compress    bool
	compression string
}

func parseManifest(i *info) (*Manifest, error) {
	r := manifestReader{m: &Manifest{pass: i.pass, Links: map[string]string{}}}
	for _, e := range i.entries {
		if err := r.line(e); err != nil {
			return nil, failure.WrapAs(kindOr(err, failure.Corrupt), err, "understand ["+e.section+"]", e.key)
		}
	}
	m := r.m
	switch {
	case r.compression != "":
		m.Compression = Compression(r.compression)
	case r.compress: // before there was a choice
		m.Compression = Gz
	default:
		m.Compression = None
	}
	if err := m.Compression.valid(); err != nil {
		return nil, err
	}
	for n := range m.Files {
		m.Files[n].Owner = r.files[n].or(r.file)
	}
	for n := range m.Paths {
		m.Paths[n].Owner = r.paths[n].or(r.path)
	}
	for _, s := range m.Spaces {
		delete(m.Links, path.Join(DataName, SpacesName, s.OID))
	}
	byName := func(a, b string) int { return strings.Compare(a, b) }
	slices.SortFunc(m.Files, func(a, b File) int { return byName(a.Name, b.Name) })
	slices.SortFunc(m.Paths, func(a, b Path) int { return byName(a.Name, b.Name) })
	return m, nil
}

func kindOr(err error, k failure.Kind) failure.Kind {
	if failure.Classified(err) {
		return failure.KindOf(err)
	}
	return k
}

// line takes one line in.
func (r *manifestReader) line(e entry) error {
	switch e.section {
	case "backup":
		return r.backup(e)
	case "backup:option":
		switch e.key {
		case "option-compress":
			return json.Unmarshal(e.value, &r.compress)
		case "option-compress-type":
			return json.Unmarshal(e.value, &r.compression)
		case "option-checksum-page":
			return json.Unmarshal(e.value, &r.m.ChecksumPages)
		}
	case "backup:target":
		return r.target(e)
	case "target:file":
		return r.addFile(e)
	case "target:path":
		var p owned
		if err := json.Unmarshal(e.value, &p); err != nil {
			return err
		}
		r.m.Paths, r.paths = append(r.m.Paths, Path{Name: e.key}), append(r.paths, p)
		return p.valid(e.key)
	case "target:link":
		var l struct {
			Destination string `json:"destination"`
		}
		if err := json.Unmarshal(e.value, &l); err != nil {
			return err
		}
		r.m.Links[e.key] = l.Destination
	case "target:file:default":
		return r.file.set(e)
	case "target:path:default":
		return r.path.set(e)
	}
	return nil
}

func (r *manifestReader) backup(e entry) error {
	switch e.key {
	case "backup-label":
		return json.Unmarshal(e.value, &r.m.Label)
	case "backup-bundle-raw":
		return json.Unmarshal(e.value, &r.m.raw)
	case "backup-timestamp-copy-start":
		var at int64
		err := json.Unmarshal(e.value, &at)
		r.m.CopyStart = time.Unix(at, 0).UTC()
		return err
	case "backup-reference":
		var list string
		err := json.Unmarshal(e.value, &list)
		r.m.references = strings.Split(list, ",")
		return err
	}
	return nil
}

// target takes in where the data folder or a tablespace was.
func (r *manifestReader) target(e entry) error {
	var t struct {
		Path string `json:"path"`
		ID   string `json:"tablespace-id"`
		Name string `json:"tablespace-name"`
	}
	if err := json.Unmarshal(e.value, &t); err != nil {
		return err
	}
	if t.ID == "" {
		return nil
	}
	if _, err := strconv.ParseUint(t.ID, 10, 32); err != nil {
		return err
	}
	r.m.Spaces = append(r.m.Spaces, Tablespace{OID: t.ID, Name: t.Name, Location: t.Path})
	return nil
}

func (r *manifestReader) addFile(e entry) error {
	var j fileJSON
	if err := json.Unmarshal(e.value, &j); err != nil {
		return err
	}
	f := File{Name: e.key, ModTime: time.Unix(j.Time, 0).UTC(), Reference: j.Reference, bundle: j.Bundle, offset: j.Offset, mapSize: j.MapSize}
	if err := j.valid(e.key); err != nil {
		return err
	}
	if j.Size == nil {
		return failure.New(failure.Corrupt, "read", "the size", "there is none: the backup was not finished")
	}
	f.Size, f.stored = *j.Size, *j.Size
	if j.Stored != nil {
		f.stored = *j.Stored
	}
	if f.Size < 0 || f.stored < 0 || f.bundle < 0 || f.offset < 0 || f.mapSize < 0 || f.mapSize > f.stored {
		return failure.New(failure.Corrupt, "read", "the sizes", "they cannot be")
	}
	if f.Size > 0 {
		sum, err := hex.DecodeString(j.SHA1)
		if err != nil || len(sum) != len(f.SHA1) {
			return failure.New(failure.Corrupt, "read", "the checksum", "%q is none", j.SHA1)
		}
		f.SHA1 = [20]byte(sum)
	}
	if f.Reference != "" && !labels.MatchString(f.Reference) {
		return failure.New(failure.Corrupt, "read", "the reference", "%q is no label", f.Reference)
	}
	if f.mapSize > 0 {
		if j.BlockSize < 1 || j.BlockSize > blockMax/blockUnit || j.BlockChecksum < 0 || j.BlockChecksum > blockChecksumMax {
			return failure.New(failure.Corrupt, "read", "the block sizes", "they cannot be")
		}
		f.blockSize, f.blockChecksum = j.BlockSize*blockUnit, max(j.BlockChecksum, blockChecksumMin)
	}
	if j.PagesSound != nil && !*j.PagesSound {
		if err := f.badPages(j.BadPages); err != nil {
			return err
		}
	}
	r.m.Files, r.files = append(r.m.Files, f), append(r.files, j)
	return nil
}

// badPages takes in which pages had wrong checksums.
func (f *File) badPages(list []json.RawMessage) error {
	f.Unread = len(list) == 0
	for _, one := range list {
		var r [2]int64
		if err := json.Unmarshal(one, &r[0]); err == nil {
			r[1] = r[0]
		} else if err := json.Unmarshal(one, &r); err != nil || r[1] < r[0] {
			return failure.New(failure.Corrupt, "read", "checksum-page-error", "%s is no page", one)
		}
		f.BadPages = append(f.BadPages, r)
	}
	return nil
}

// valid judges a name and what is said of it.
func (o owned) valid(name string) error {
	if clean := path.Clean(name); clean != name || name != DataName && name != SpacesName && !strings.HasPrefix(name, DataName+"/") &&
		!strings.HasPrefix(name, SpacesName+"/") {
		return failure.New(failure.Corrupt, "read", "the name", "it is not below %s or %s", DataName, SpacesName)
	}
	if o.Mode == "" {
		return nil
	}
	_, err := strconv.ParseUint(o.Mode, 8, 12)
	return err
}

func (o *owned) set(e entry) error {
	switch e.key {
	case "mode":
		if err := json.Unmarshal(e.value, &o.Mode); err != nil {
			return err
		}
		return o.valid(DataName)
	case "user":
		o.User = e.value
	case "group":
		o.Group = e.value
	}
	return nil
}

// or fills what is not said from the defaults.
func (o owned) or(d owned) Owner {
	if o.Mode == "" {
		o.Mode = d.Mode
	}
	if o.User == nil {
		o.User = d.User
	}
	if o.Group == nil {
		o.Group = d.Group
	}
	var out Owner
	mode, _ := strconv.ParseUint(o.Mode, 8, 12) // judged by valid
	out.Mode = fs.FileMode(mode).Perm()
	// False stands for a name that the host did not know; then it stays empty.
	_ = json.Unmarshal(o.User, &out.User)
	_ = json.Unmarshal(o.Group, &out.Group)
	return out
}
