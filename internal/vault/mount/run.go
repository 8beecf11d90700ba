//go:build linux || darwin || freebsd

package mount

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
	"github.com/lifeboat-dr/lifeboat/internal/vault/tree"
)

// detachAfter is how long unmounting waits for those who still use the file system before it is taken away from the tree
// of files; they keep what they have open until they close it.
const detachAfter = 3 * time.Second

// Run mounts v at the empty folder dir and serves it until ctx ends or somebody unmounts it; then it unmounts and returns
// nil. It holds a shared lock meanwhile. Unsupported: this machine has no FUSE, the hint says what to install. Invalid: dir
// cannot be mounted on. Conflict: the vault is locked, the lock was lost, or files were still in use at the end.
func Run(ctx context.Context, v *vault.Vault, dir string, o Options) (err error) {
	o = o.filled()
	if err := checkTemplates(o.Paths, o.TimeFormat); err != nil {
		return err
	}
	if err := (machine{device: "/dev/fuse", root: os.Geteuid() == 0, look: exec.LookPath}).able(); err != nil {
		return err
	}
	if err := checkFolder(dir); err != nil {
		return err
	}
	if !o.NoLock {
		held, lock, err := v.Lock(ctx, false)
		if err != nil {
			return err
		}
		defer func() {
			if lerr := lock.Release(ctx); lerr != nil {
				o.Log.WarnContext(ctx, "the mount's lock is left", "vault", v.Location(), "error", lerr)
			}
		}()
		ctx = held
	}
	if err := v.LoadIndex(ctx); err != nil {
		return err
	}
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	f := newFileSystem(serving, v, o)
	defer f.work.Wait()
	defer stop()
	if _, err := f.shelves(ctx); err != nil {
		return err
	}
	server, err := f.mount(dir)
	if err != nil {
		return failure.WrapAs(failure.Unavailable, err, "mount", dir).
			WithHint("look at the kernel's log (dmesg); in a container FUSE takes --device /dev/fuse --cap-add SYS_ADMIN")
	}
	if o.Ready != nil {
		o.Ready()
	}
	ended := make(chan struct{})
	go func() {
		server.Wait()
		close(ended)
	}()
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
	}
	if err := unmount(server, dir, ended); err != nil {
		return err
	}
	if failure.KindOf(context.Cause(ctx)) == failure.Conflict {
		return context.Cause(ctx) // the lock was lost
	}
	return nil
}

func newFileSystem(ctx context.Context, v *vault.Vault, o Options) *fileSystem {
	f := &fileSystem{v: v, o: o, log: o.Log.With("vault", v.Location()), ctx: ctx, trees: newCache[[]tree.Node](o.Memory / 4)}
	f.blobs = blobs{fs: f, cache: newCache[[]byte](o.Memory - o.Memory/4), aheads: make(chan struct{}, aheads), zeros: map[uint32]object.ID{}}
	return f
}

// mount begins to serve.
func (f *fileSystem) mount(dir string) (*fuse.Server, error) {
	short, long := shelfValid, nodeValid
	root := os.Geteuid() == 0
	// With ACLs the kernel keeps to the modes too, which would keep an ordinary user from what others own.
	acls := !f.o.NoDefaultPermissions && (f.o.AllowOther || root)
	options := []string{"ro"}
	if f.o.AllowOther && !f.o.NoDefaultPermissions {
		options = append(options, "default_permissions")
	}
	return fs.Mount(dir, &shelfNode{f: f}, &fs.Options{
		EntryTimeout: &short, AttrTimeout: &long, NegativeTimeout: &short,
		NullPermissions: true,
		RootStableAttr:  &fs.StableAttr{Ino: 1},
		MountOptions: fuse.MountOptions{AllowOther: f.o.AllowOther, FsName: "lifeboat:" + f.v.Location(), Name: "lifeboat", Options: options,
			EnableAcl: acls, DirectMount: root, MaxWrite: 1 << 20, MaxReadAhead: 1 << 20},
	})
}

// unmount ends the mount, by force when somebody still uses it.
func unmount(server *fuse.Server, dir string, ended <-chan struct{}) error {
	busy := server.Unmount()
	if busy == nil {
		<-ended
		return nil
	}
	wait := time.NewTimer(detachAfter)
	defer wait.Stop()
	select {
	case <-ended:
		return nil
	case <-wait.C:
	}
	if err := server.Unmount(); err == nil {
		<-ended
		return nil
	}
	if err := detach(dir); err != nil {
		return failure.WrapAs(failure.Conflict, errors.Join(busy, err), "unmount", dir).WithHint("end what uses it (fuser -m %s), then: umount %s", dir, dir)
	}
	return failure.New(failure.Conflict, "unmount", dir, "files were still in use: the folder is detached, and what is open cannot be read any more")
}

// machine is what mounting takes of one.
type machine struct {
	device string
	root   bool
	look   func(program string) (string, error)
}

// able is nil when something can be mounted here.
func (m machine) able() error {
	lacking := func(message, hint string) error {
		return failure.New(failure.Unsupported, "mount", "", "%s", message).WithHint("%s", hint)
	}
	if _, err := os.Stat(m.device); errors.Is(err, os.ErrNotExist) {
		return lacking("there is no "+m.device,
			"load the kernel's module: modprobe fuse; in a container add: --device /dev/fuse --cap-add SYS_ADMIN; without FUSE use: lifeboat vault restore, or dump")
	}
	if m.root {
		return nil
	}
	for _, program := range []string{"fusermount3", "fusermount"} {
		if _, err := m.look(program); err == nil {
			return nil
		}
	}
	return lacking("there is no fusermount", "install it: apt install fuse3, dnf install fuse3, apk add fuse3; or mount as root")
}

// checkFolder refuses what cannot be mounted on.
func checkFolder(dir string) error {
	invalid := func(format string, args ...any) *failure.Error {
		return failure.New(failure.Invalid, "mount", dir, format, args...)
	}
	list, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, syscall.ENOTCONN):
		return invalid("a mount whose program has died is still there").WithHint("remove it first: umount %s, or fusermount -u %s", dir, dir)
	case errors.Is(err, os.ErrNotExist):
		return invalid("the folder does not exist").WithHint("make it: mkdir -p %s", dir)
	case errors.Is(err, syscall.ENOTDIR):
		return invalid("it is no folder")
	case err != nil:
		return failure.WrapAs(failure.Denied, err, "mount", dir)
	case len(list) > 0:
		return invalid("the folder is not empty: what is in it would be hidden").WithHint("give an empty folder")
	}
	return nil
}
