package files

import (
	"context"
	_ "embed"
	"strings"

	"github.com/lifeboat-dr/lifeboat/drivers/files/job"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/hostexec"
)

// lookScript tells what there is of the folder. It changes nothing.
const lookScript = `
base=$1
echo looked=yes
[ -d "$base" ] && echo live=yes
[ -d "$base` + job.Fenced + `" ] && echo fenced=yes
[ -d "$base` + job.Standby + `" ] && echo standby=yes
if [ -d "$base" ] && command -v mountpoint >/dev/null 2>&1 && mountpoint -q "$base"; then echo mount=yes; fi
if [ -d "$(dirname "$base")" ]; then echo parent=yes; [ -w "$(dirname "$base")" ] && echo writable=yes; fi
exit 0
`

// seen is what there is of the folder at a site.
type seen struct {
	Live, Fenced, Standby bool
	Mount                 bool // the live folder is a mount point
	Parent, Writable      bool
}

// look asks the host. A host that does not answer is Unavailable.
func (p *place) look(ctx context.Context) (seen, error) {
	res, err := p.host().Script(ctx, lookScript, p.at.Folder)
	if err == nil {
		err = res.Err(failure.Unavailable, "look at", p.subject())
	}
	if err != nil {
		if failure.KindOf(err) == failure.Indeterminate { // looking has no effect to be unsure of
			err = failure.WrapAs(failure.Unavailable, err, "", "")
		}
		return seen{}, failure.Wrap(err, "look at", p.subject())
	}
	facts := map[string]bool{}
	for _, line := range strings.Split(res.Text(), "\n") {
		facts[line] = true
	}
	if !facts["looked=yes"] {
		return seen{}, failure.New(failure.Unavailable, "look at", p.subject(), "the host says %q", res.Text())
	}
	return seen{Live: facts["live=yes"], Fenced: facts["fenced=yes"], Standby: facts["standby=yes"], Mount: facts["mount=yes"],
		Parent: facts["parent=yes"], Writable: facts["writable=yes"]}, nil
}

// fenceScript takes the folder's name away, for ever, and says who still has files of it open for writing. An older fenced
// copy is put aside and never written over.
const fenceScript = `
base=$1 fenced=$1` + job.Fenced + `
if [ -e "$base" ]; then
	if [ -e "$fenced" ]; then
		aside=$fenced.$(date -u +%Y%m%dT%H%M%SZ).$$
		mv "$fenced" "$aside" || [ ! -e "$base" ] || exit 1
		echo "aside=$aside"
	fi
	mv "$base" "$fenced" || [ ! -e "$base" ] || exit 1 # somebody else does the same
	sync
fi
[ ! -e "$base" ] || { echo "the folder is still there" >&2; exit 1; }
echo fenced=yes
[ ! -e "$fenced" ] || echo kept=yes
[ -d /proc/self/fd ] || exit 0
find /proc/[0-9]*/fd -lname "$2/*" 2>/dev/null | while read -r fd; do
	pid=${fd#/proc/}; pid=${pid%%/*}
	flags=$(sed -n 's/^flags:[^0-7]*\([0-7]*\)$/\1/p' "/proc/$pid/fdinfo/${fd##*/}" 2>/dev/null)
	case $flags in *[12]) echo "writer=$pid $(tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | cut -c1-80)" ;; esac
done
exit 0
`

// taken is what fencing a folder found.
type taken struct {
	kept    bool     // there is a fenced copy
	aside   string   // where an older one went
	writers []string // the processes that still write
}

// takeAway fences the folder.
func (p *place) takeAway(ctx context.Context) (taken, error) {
	// find takes a pattern: what is special in one stands for itself in a folder's name.
	pattern := strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(p.at.Folder + job.Fenced)
	res, err := p.host().Script(ctx, fenceScript, p.at.Folder, pattern)
	if err == nil {
		err = res.Err(failure.Denied, "fence", p.subject())
	}
	if err != nil {
		return taken{}, err
	}
	var t taken
	fenced := false
	for _, line := range strings.Split(res.Text(), "\n") {
		key, value, _ := strings.Cut(line, "=")
		switch key {
		case "fenced":
			fenced = true
		case "kept":
			t.kept = true
		case "aside":
			t.aside = value
		case "writer":
			t.writers = append(t.writers, "process "+strings.TrimSpace(value))
		}
	}
	if !fenced {
		return taken{}, failure.New(failure.Unavailable, "fence", p.subject(), "the host says %q", res.Text())
	}
	return t, nil
}

// words quotes a command for a script.
func words(argv ...string) string { return hostexec.Join(argv) }
