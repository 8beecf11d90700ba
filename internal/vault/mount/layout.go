package mount

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/snapshot"
)

// DefaultPaths are the templates of restic's mount.
func DefaultPaths() []string { return []string{"ids/%i", "snapshots/%T", "hosts/%h/%T", "tags/%t/%T"} }

// shelf is one directory above the snapshots, by the names of what is in it.
type shelf map[string]place

// place is one thing in a shelf: another shelf, a snapshot, or a link to one.
type place struct {
	snapshot *snapshot.Snapshot
	link     string
	shelf    bool
}

// layout is all shelves by their paths, which begin with a slash; the root's is empty. A path can be a shelf and a
// snapshot at once only by templates that ask for that: the shelf wins.
type layout map[string]shelf

// arrange lays snapshots out by the templates, which are restic's: %i and %I are the short and the long id, %u the user,
// %h the host, %t each of the tags, %T the time, whose format is timeFormat. Where a template ends with the time, a link
// "latest" leads to the newest. Snapshots are sorted by time; of those with the same path all but the first get "-1" and
// so on.
func arrange(snapshots []*snapshot.Snapshot, templates []string, timeFormat string) layout {
	l := layout{"": {}}
	for _, t := range templates {
		if p := staticPart(t); p != "" {
			l.add(path.Clean("/"+p), place{shelf: true})
		}
	}
	for _, s := range snapshots {
		for _, t := range templates {
			prefixes, stamp := expand(t, timeFormat, s)
			for _, prefix := range prefixes {
				prefix = "/" + prefix
				name := stamp
				for i := 1; l.has(path.Clean(prefix + name)); i++ {
					name = fmt.Sprintf("%s-%d", stamp, i)
				}
				l.add(path.Clean(prefix+name), place{snapshot: s})
				if stamp != "" {
					l.add(path.Clean(prefix+"/latest"), place{snapshot: s, link: name})
				}
			}
		}
	}
	return l
}

func (l layout) has(p string) bool {
	dir := path.Dir(p)
	if dir == "/" {
		dir = ""
	}
	_, there := l[dir][path.Base(p)]
	return there
}

// add puts a place at p, and the shelves above it.
func (l layout) add(p string, what place) {
	if p == "/" {
		return
	}
	dir, name := path.Dir(p), path.Base(p)
	if dir == "/" {
		dir = ""
	}
	if what.shelf && l[p] == nil {
		l[p] = shelf{}
	}
	if l[dir] == nil {
		l[dir] = shelf{}
	}
	if old, there := l[dir][name]; !there || !old.shelf {
		l[dir][name] = what
	}
	if dir != "" {
		l.add(dir, place{shelf: true})
	}
}

// staticPart is the part of a template's path that is the same for all snapshots: it is there without any too.
func staticPart(template string) string {
	at := strings.IndexByte(template, '%')
	if at < 0 {
		return ""
	}
	return template[:max(0, strings.LastIndexByte(template[:at], '/'))]
}

// expand gives the paths of a snapshot by a template, one for each tag if it asks for tags, and the time when the template
// ends with it.
func expand(template, timeFormat string, s *snapshot.Snapshot) (paths []string, stamp string) {
	paths = []string{""}
	appendAll := func(text string) {
		for i := range paths {
			paths[i] += text
		}
	}
	when := s.Time.Format(timeFormat)
	for i := 0; i < len(template); i++ {
		if template[i] != '%' || i+1 == len(template) {
			appendAll(template[i : i+1])
			continue
		}
		i++
		switch template[i] {
		case 'T':
			if i+1 == len(template) {
				return paths, when
			}
			appendAll(when)
		case 't':
			var each []string
			for _, tag := range s.Tags {
				for _, p := range paths {
					each = append(each, p+fileName(tag))
				}
			}
			paths = each
		case 'i':
			appendAll(s.ID.Short())
		case 'I':
			appendAll(s.ID.String())
		case 'u':
			appendAll(fileName(s.Username))
		case 'h':
			appendAll(fileName(s.Hostname))
		default:
			appendAll(template[i : i+1])
		}
	}
	return paths, ""
}

// fileName makes a name of a tag, a host or a user, as restic does of tags.
func fileName(text string) string {
	switch text {
	case "", ".":
		return "_"
	case "..":
		return "__"
	}
	return strings.ReplaceAll(text, "/", "_")
}

// checkTemplates refuses what cannot be laid out.
func checkTemplates(templates []string, timeFormat string) error {
	if timeFormat == "" || strings.HasPrefix(timeFormat, "/") || strings.HasSuffix(timeFormat, "/") {
		return failure.New(failure.Invalid, "mount", "", "the time format %q is empty, or begins or ends with a slash", timeFormat)
	}
	one := &snapshot.Snapshot{Time: time.Unix(0, 0), Tags: []string{"t"}}
	for _, t := range templates {
		paths, stamp := expand(t, timeFormat, one)
		if path.Clean("/"+paths[0]+stamp) == "/" || slices.Contains(strings.Split(t, "/"), "..") {
			return failure.New(failure.Invalid, "mount", "", "the template %q names no place below the root", t)
		}
	}
	return nil
}
