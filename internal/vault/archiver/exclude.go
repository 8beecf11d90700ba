package archiver

import (
	"context"
	"log/slog"
	"slices"
	"strings"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/filter"
	"github.com/lifeboat-dr/lifeboat/internal/vault/fsnode"
	"github.com/lifeboat-dr/lifeboat/internal/vault/tree"
)

// cacheTag is the tag of directories that need no backup, see bford.info/cachedir.
const cacheTag = "CACHEDIR.TAG:Signature: 8a477f597d28d172789f06886806bc55"

// excluder says what is left out.
type excluder struct {
	names  *filter.Set
	tags   []tag
	larger int64 // 0: none
	oneFS  bool
	log    *slog.Logger
}

// tag is a file that keeps what is beside it out.
type tag struct{ name, header string }

func newExcluder(o Options) (*excluder, error) {
	set, err := o.Exclude.Compile()
	if err != nil {
		return nil, err
	}
	if o.ExcludeLargerThan < 0 {
		return nil, failure.New(failure.Invalid, "back up", "", "files larger than %d bytes cannot be left out", o.ExcludeLargerThan)
	}
	x := &excluder{names: set, larger: o.ExcludeLargerThan, oneFS: o.OneFileSystem, log: o.Log}
	specs := slices.Clone(o.ExcludeIfPresent)
	if o.ExcludeCaches {
		specs = append(specs, cacheTag)
	}
	for _, spec := range specs {
		name, header, _ := strings.Cut(spec, ":")
		if name == "" || strings.ContainsAny(name, "/\x00") {
			return nil, failure.New(failure.Invalid, "back up", "", "%q does not begin with the name of a tag file", spec)
		}
		x.tags = append(x.tags, tag{name, header})
	}
	return x, nil
}

// tagged gives the names of the tag files in d that count.
func (x *excluder) tagged(ctx context.Context, d *fsnode.Dir) []string {
	var found []string
	for _, t := range x.tags {
		var s fsnode.Stat
		if err := d.Stat(t.name, &s); err != nil {
			if failure.KindOf(err) != failure.NotFound {
				x.log.WarnContext(ctx, "a tag file cannot be looked at: nothing is left out for it", "directory", d.Path(), "tag", t.name, "error", err)
			}
			continue
		}
		if t.header != "" && !x.begins(ctx, d, t) {
			continue
		}
		found = append(found, t.name)
	}
	return found
}

// begins reports whether a tag file begins as it must.
func (x *excluder) begins(ctx context.Context, d *fsnode.Dir, t tag) bool {
	f, err := d.OpenFollowing(t.name)
	if err == nil {
		defer f.Close()
		buf := make([]byte, len(t.header))
		if _, err = f.ReadAt(buf, 0); err == nil && string(buf) == t.header {
			return true
		}
	}
	x.log.WarnContext(ctx, "a tag file does not begin as it must: nothing is left out for it", "directory", d.Path(), "tag", t.name, "error", err)
	return false
}

// byName reports whether what is at a spot is left out for its name or for a tag beside it.
func (x *excluder) byName(at spot) bool {
	for _, t := range at.in.tags {
		if t != at.name {
			return true
		}
	}
	return !x.names.Empty() && x.names.Match(at.real())
}

// byStat reports whether something is left out for what it is. A directory of another file system is kept where it is
// mounted; what is in it is not.
func (x *excluder) byStat(s *fsnode.Stat, at *place) bool {
	if x.oneFS && s.Device() != at.device && (s.Type() != tree.Dir || at.own != at.device) {
		return true
	}
	return x.larger > 0 && s.Type() != tree.Dir && s.Size() > x.larger
}
