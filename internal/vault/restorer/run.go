package restorer

import (
	"context"
	"log/slog"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/fsnode"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
)

// defaultMaxEntries is far beyond what a restore has memory for.
const defaultMaxEntries = 50_000_000

// Run makes the tree root true in o.Target. Entries that cannot be restored are told to OnError and listed in the
// Result, and the others are restored all the same; then the error says so, with the kind of the first. Differences that
// Verify finds are an error too. The Result is there with every error, as far as the run came. A run that was broken off
// is completed by the next one; after a loss of power it is not to be IfChanged unless Sync had returned, for a file system
// may keep a file's time and lose its content.
//
// It takes no lock on the vault: when somebody prunes meanwhile, what is gone is reported as missing.
//
// Invalid: o cannot be; Denied: Delete would clear the whole system. A full file system ends the run at once.
func Run(ctx context.Context, v *vault.Vault, root object.ID, o Options) (*Result, error) {
	r := &run{v: v, o: o, blobs: blobTable{known: map[object.ID]uint32{}}}
	r.tell = newTeller(o.Progress, o.Item, o.OnError)
	if err := r.check(); err != nil {
		return r.tell.result(), err
	}
	stop := r.tell.start()
	err := r.run(ctx, root)
	if r.target != nil {
		r.target.Close()
	}
	stop()
	res := r.tell.result()
	switch {
	case err != nil:
		return res, failure.Wrap(err, "restore to", o.Target)
	case res.Failed > 0:
		return res, failure.WrapAs(failure.KindOf(res.Problems[0].Err), res.Problems[0].Err, "restore to", o.Target).
			WithHint("%s could not be restored, and everything else was; to go on, restore again: what is right already is kept",
				plural(res.Failed, "entry", "entries"))
	case len(res.Differences) > 0:
		return res, failure.WrapAs(failure.Corrupt, res.Differences[0].Err, "verify what was restored to", o.Target).
			WithHint("%s not as in the vault: somebody changes the target, or its disk is damaged",
				plural(len(res.Differences), "entry is", "entries are"))
	}
	return res, nil
}

// run is one restore. Its tables are filled by scan and then change only in the fields that say so.
type run struct {
	v     *vault.Vault
	o     Options
	apply *fsnode.Applier
	tell  *teller

	target *fsnode.Dir // nil in a dry run when there is none yet
	dirs   dirCache
	guards map[fsnode.Identity]string // what Delete must leave, by what it is

	folders      []folder // folders[0] is the target; parents come before what is in them
	files        []file
	others       []other
	content      []uint32 // of all files: numbers of blobs
	blobs        blobTable
	places       []place
	litterIsOurs bool       // no entry of the tree has a name as besideName makes them
	sources      sync.Mutex // over the blobs' sources while comparing

	writer *writer
}

// check refuses what cannot be, and fills in what was left out.
func (r *run) check() error {
	o := &r.o
	if o.Target == "" {
		return failure.New(failure.Invalid, "restore", "", "no target is given").WithHint("name the directory to restore to: --target")
	}
	var err error
	if o.Overwrite, err = ParseOverwrite(string(o.Overwrite)); err != nil {
		return err
	}
	if o.DryRun && o.Verify {
		return failure.New(failure.Invalid, "restore", o.Target, "a dry run leaves nothing to verify")
	}
	abs, err := filepath.Abs(o.Target)
	if err != nil {
		return failure.WrapAs(failure.Invalid, err, "restore to", o.Target)
	}
	if real, err := filepath.EvalSymlinks(abs); err == nil {
		abs = real
	}
	if o.Delete && abs == "/" && o.Select == nil && !o.AllowRoot {
		return failure.New(failure.Denied, "restore", "/", "to delete everything on this system that is not in the recovery point is refused").
			WithHint("restore to another directory, or select what is restored with an include or exclude pattern")
	}
	if o.Workers <= 0 {
		o.Workers = max(4, 2*runtime.GOMAXPROCS(0))
	}
	if o.MaxEntries <= 0 {
		o.MaxEntries = defaultMaxEntries
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	r.apply = &fsnode.Applier{OwnerByName: o.OwnerByName, Owner: o.Owner, Xattr: o.Xattr, DryRun: o.DryRun}
	return nil
}

// run goes through the phases.
func (r *run) run(ctx context.Context, root object.ID) error {
	began := time.Now()
	if err := r.scan(ctx, root); err != nil {
		return err
	}
	r.tell.enter(Comparing)
	if err := r.openTarget(); err != nil {
		return err
	}
	defer r.dirs.close()
	if err := r.makeFolders(ctx); err != nil {
		return err
	}
	if err := r.look(ctx); err != nil {
		return err
	}
	if !r.o.DryRun {
		r.tell.enter(Restoring)
		if err := r.restoreFiles(ctx); err != nil {
			return err
		}
	}
	r.tell.enter(Finishing)
	if err := r.finish(ctx); err != nil {
		return err
	}
	r.o.Log.DebugContext(ctx, "restored", "target", r.o.Target, "files", len(r.files), "directories", len(r.folders)-1, "took", time.Since(began))
	if r.o.DryRun {
		return nil
	}
	if r.o.Sync || r.o.Verify {
		r.tell.enter(Syncing)
		if err := r.target.Sync(); err != nil {
			return err
		}
	}
	if r.o.Verify {
		r.tell.enter(Verifying)
		return r.verify(ctx)
	}
	return nil
}

// openTarget opens the directory to restore to, and makes it when it is not there.
func (r *run) openTarget() error {
	if r.o.DryRun {
		if _, ok := fsnode.IdentityOf(r.o.Target); !ok {
			r.folders[0].state = fresh
			return nil
		}
	}
	var err error
	var created bool
	if r.target, created, err = fsnode.OpenTarget(r.o.Target); err != nil {
		return err
	}
	free, err := r.target.Free()
	if err != nil {
		return err
	}
	r.tell.free(free)
	r.folders[0].state = existing
	if created {
		r.folders[0].state = fresh
	}
	r.dirs.init(r.folders, r.target)
	r.dirs.readOnly = r.o.DryRun
	return r.guard()
}

// guard notes what Delete must leave: what is protected, and the vault itself when it is a folder.
func (r *run) guard() error {
	if !r.o.Delete {
		return nil
	}
	r.guards = map[fsnode.Identity]string{}
	paths := r.o.Protect
	if at := strings.TrimPrefix(r.v.Location(), "local:"); filepath.IsAbs(at) {
		paths = append(paths[:len(paths):len(paths)], at)
	}
	for _, path := range paths {
		abs, err := filepath.Abs(path)
		if err != nil {
			return failure.WrapAs(failure.Invalid, err, "protect", path)
		}
		if real, err := filepath.EvalSymlinks(abs); err == nil {
			abs = real
		}
		for at := abs; ; at = filepath.Dir(at) {
			if id, ok := fsnode.IdentityOf(at); ok {
				r.guards[id] = abs
			}
			if at == filepath.Dir(at) {
				break
			}
		}
	}
	return nil
}
