package archivertest

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Options say what a corpus holds.
type Options struct {
	// Deep adds a path that is longer than the system takes at once. restic neither reads nor writes it.
	Deep bool
	// Sockets adds one. No backup keeps it.
	Sockets bool
	// Large makes the sparse files gigabytes long; they take next to nothing on the disk.
	Large bool
	// Modern adds what restic 0.14 loses and later ones keep: attributes of symbolic links, and their targets where these
	// are no UTF-8.
	Modern bool
	Seed   uint64
}

// Corpus fills the directory dir, which must be there. The same options make the same but for inodes and change times.
func Corpus(t testing.TB, dir string, o Options) {
	t.Helper()
	b := &builder{TB: t, dir: dir, r: rand.New(rand.NewPCG(o.Seed, 1)), root: os.Geteuid() == 0, seed: o.Seed}
	b.names()
	b.sizes()
	b.sparse(o.Large)
	b.hardLinks()
	b.symlinks(o.Modern)
	b.xattrs(o.Modern)
	b.acls()
	b.special(o.Sockets)
	b.modes()
	b.owners()
	if o.Deep {
		b.deep()
	}
	b.times() // last: making files changes the times of directories
}

// builder makes a corpus.
type builder struct {
	testing.TB
	dir  string
	r    *rand.Rand
	root bool
	seed uint64
}

func (b *builder) path(name string) string { return b.dir + "/" + name }

func (b *builder) must(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

func (b *builder) mkdir(name string) { b.Helper(); b.must(os.MkdirAll(b.path(name), 0o755)) }

func (b *builder) write(name, text string) {
	b.Helper()
	b.must(os.WriteFile(b.path(name), []byte(text), 0o644))
}

// Noise gives n bytes that do not compress.
func Noise(seed uint64, n int) []byte {
	p := make([]byte, n)
	s := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16), byte(seed >> 24)})
	_, _ = s.Read(p) // never fails
	return p
}

// Names are what files may be called and programs stumble over.
func Names() []string {
	names := []string{"plain", "with space", " leading", "trailing ", "new\nline", "tab\t", "carriage\rreturn", `quote"`, "quote'", "back`tick",
		`back\slash`, `\x41`, `\u00e9`, "\\\\", "*", "a*b?[c]", "?", "[", "{a,b}", "$HOME", "${PATH}", "$(id)", "%s%n", "!important", "#comment", "~", "~root", "-rf", "--",
		"...", "..x", ".hidden", "a.", "COM1", "nul", "semi;colon", "amp&amp;", "<tag>", "pipe|", "bell\a", "\x01\x02\x1f", "del\x7f", "esc\x1b[31m",
		"latin-1 caf\xe9", "\xff", "\xff\xfe\xfd", "cut \xe2\x82", "surrogate \xed\xa0\x80", "overlong \xc0\xaf", "mixed é\xe9",
		"日本語", "русский", "עברית", "العربية", "🙂🏳️\u200d🌈", "e\u0301", "\u00e9", "line\u2028separator", "bom\ufeff", "rtl\u202eoverride", "replacement\ufffd", "zero\u200bwidth",
		"İı", "ß", "ſ", strings.Repeat("n", 255), strings.Repeat("\xfe", 255), strings.Repeat("語", 85)}
	return names
}

func (b *builder) names() {
	b.mkdir("names/dirs")
	for _, name := range Names() {
		b.write("names/"+name, name)
		b.must(os.Mkdir(b.path("names/dirs/"+name), 0o755))
		b.write("names/dirs/"+name+"/x", "")
	}
}

func (b *builder) sizes() {
	b.mkdir("sizes/empty directory")
	for _, n := range []int{0, 1, 511, 4095, 4096, 4097, 65536, 512<<10 - 1, 512 << 10, 512<<10 + 1, 1 << 20, 3<<20 + 17, 9 << 20} {
		b.must(os.WriteFile(b.path(fmt.Sprintf("sizes/%d noise", n)), Noise(b.r.Uint64(), n), 0o644))
	}
	b.write("sizes/text", strings.Repeat("lorem ipsum dolor sit amet ", 200_000))
	b.write("sizes/zeros", strings.Repeat("\x00", 5<<20+123)) // written, not a hole
}

// sparse makes files with holes: pieces of noise at offsets in a size.
func (b *builder) sparse(large bool) {
	b.mkdir("sparse")
	const m = 1 << 20
	size := int64(64 * m)
	if large {
		size = 3 << 30
	}
	for name, f := range map[string]struct {
		size   int64
		pieces map[int64]int
	}{
		"only a hole":         {size, nil},
		"an odd hole":         {7*m + 333, nil},
		"a small hole":        {40 << 10, nil},
		"data first":          {size, map[int64]int{0: m + 5}},
		"data last":           {size, map[int64]int{size - 9000: 9000}},
		"data in the middle":  {size, map[int64]int{size / 2: 3 * m}},
		"data here and there": {size, map[int64]int{4096: 1, 3*m + 4096: 70_000, 9 * m: 2 * m, 20*m + 512<<10: 100, 30 * m: 4096}},
		"data at chunk ends":  {8 * m, map[int64]int{512 << 10: 1, m: 1, 2*m - 1: 2, 5 * m: 512 << 10}},
		"data then a hole":    {m + 77, map[int64]int{0: 4096}},
	} {
		out, err := os.Create(b.path("sparse/" + name))
		b.must(err)
		b.must(out.Truncate(f.size))
		for off, n := range f.pieces {
			_, err := out.WriteAt(Noise(b.seed+uint64(off), n), off)
			b.must(err)
		}
		b.must(out.Close())
	}
}

func (b *builder) hardLinks() {
	b.mkdir("hard links/a")
	b.mkdir("hard links/b/c")
	b.write("hard links/a/one", "several names")
	b.must(os.WriteFile(b.path("hard links/a/large"), Noise(b.r.Uint64(), 2<<20), 0o644))
	for from, to := range map[string]string{"a/one": "a/two", "a/large": "b/c/large"} {
		b.must(os.Link(b.path("hard links/"+from), b.path("hard links/"+to)))
	}
	b.must(os.Link(b.path("hard links/a/one"), b.path("hard links/b/c/three")))
	b.write("hard links/a/empty", "")
	b.must(os.Link(b.path("hard links/a/empty"), b.path("hard links/b/empty")))
	b.must(os.Symlink("one", b.path("hard links/a/symlink")))
	b.must(os.Link(b.path("hard links/a/symlink"), b.path("hard links/b/symlink")))
}

func (b *builder) symlinks(modern bool) {
	b.mkdir("symlinks/directory")
	b.write("symlinks/file", "x")
	for name, target := range map[string]string{"to a file": "file", "to a directory": "directory", "absolute": "/etc/passwd", "dangling": "nowhere/at all",
		"loop": "loop", "up": "../../..", "new\nline": "a\nb", "quotes": `a"b\c'`, "<html>": "<&>\u2028", "long": strings.Repeat("x/", 2000), "dot": "."} {
		b.must(os.Symlink(target, b.path("symlinks/"+name)))
	}
	if modern {
		b.must(os.Symlink("caf\xe9/\xff", b.path("symlinks/not utf-8")))
	}
}

func (b *builder) xattr(name, attr, value string) {
	b.Helper()
	if err := unix.Lsetxattr(b.path(name), attr, []byte(value), 0); err != nil {
		b.Fatalf("set %s of %s: %v", attr, name, err)
	}
}

func (b *builder) xattrs(modern bool) {
	b.mkdir("xattrs/directory")
	for _, name := range []string{"empty", "binary", "many", "long", "name"} {
		b.write("xattrs/"+name, name)
	}
	b.xattr("xattrs/empty", "user.empty", "")
	b.xattr("xattrs/binary", "user.binary", "\x00\xff\n\"")
	for i := range 30 {
		b.xattr("xattrs/many", fmt.Sprintf("user.number %d", i), strings.Repeat("v", i))
	}
	b.xattr("xattrs/long", "user.long", strings.Repeat("long ", 600))
	b.xattr("xattrs/name", "user.<é & ü>", "x")
	b.xattr("xattrs/directory", "user.of a directory", "x")
	if !b.root {
		return
	}
	b.xattr("xattrs/binary", "trusted.of root", "y")
	// cap_net_bind_service=ep, in version 2 of the kernel's struct vfs_cap_data
	b.xattr("xattrs/binary", "security.capability", "\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00")
	if modern {
		b.must(os.Symlink("nowhere", b.path("xattrs/link")))
		b.xattr("xattrs/link", "trusted.of a link", "z")
	}
}

// acl encodes an access control list as Linux stores it (linux/posix_acl_xattr.h).
func acl(entries ...[3]uint32) string {
	out := []byte{2, 0, 0, 0}
	for _, e := range entries {
		out = binary.LittleEndian.AppendUint16(out, uint16(e[0]))
		out = binary.LittleEndian.AppendUint16(out, uint16(e[1]))
		out = binary.LittleEndian.AppendUint32(out, e[2])
	}
	return string(out)
}

func (b *builder) acls() {
	const owner, user, group, mask, other, none = 1, 2, 4, 16, 32, 0xffffffff
	list := acl([3]uint32{owner, 6, none}, [3]uint32{user, 4, 1234}, [3]uint32{user, 6, 65533}, [3]uint32{group, 4, none}, [3]uint32{8, 5, 4321},
		[3]uint32{mask, 7, none}, [3]uint32{other, 0, none})
	b.mkdir("acls/directory")
	b.write("acls/file", "x")
	b.xattr("acls/file", "system.posix_acl_access", list)
	b.xattr("acls/directory", "system.posix_acl_access", list)
	b.xattr("acls/directory", "system.posix_acl_default", list)
	b.write("acls/directory/inherits", "x")
}

func (b *builder) special(sockets bool) {
	b.mkdir("special")
	b.must(unix.Mkfifo(b.path("special/fifo"), 0o640))
	if sockets {
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: b.short("special/socket"), Net: "unix"})
		b.must(err)
		l.SetUnlinkOnClose(false)
		b.must(l.Close())
	}
	if b.root {
		b.must(unix.Mknod(b.path("special/null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))))
		b.must(unix.Mknod(b.path("special/block"), unix.S_IFBLK|0o600, int(unix.Mkdev(259, 70000))))
		b.must(unix.Mknod(b.path("special/whiteout"), unix.S_IFCHR, int(unix.Mkdev(0, 0))))
	}
}

// short gives a path that is short enough for a socket.
func (b *builder) short(name string) string {
	d, err := os.Open(filepath.Dir(b.path(name)))
	b.must(err)
	b.Cleanup(func() { _ = d.Close() })
	return fmt.Sprintf("/proc/self/fd/%d/%s", d.Fd(), filepath.Base(name))
}

func (b *builder) modes() {
	b.mkdir("modes")
	for _, mode := range []os.FileMode{0o000, 0o400, 0o111, 0o777, 0o644 | os.ModeSetuid, 0o755 | os.ModeSetgid, 0o777 | os.ModeSticky, 0o7 | os.ModeSetuid | os.ModeSetgid | os.ModeSticky} {
		if !b.root && mode&0o400 == 0 {
			continue // nobody could read it
		}
		file, dir := fmt.Sprintf("modes/file %v", mode), fmt.Sprintf("modes/dir %v", mode)
		b.write(file, "x")
		b.must(os.Chmod(b.path(file), mode))
		if b.root {
			b.mkdir(dir)
			b.write(dir+"/x", "x")
			b.must(os.Chmod(b.path(dir), mode))
		}
	}
}

func (b *builder) owners() {
	if !b.root {
		return
	}
	b.mkdir("owners")
	for _, id := range []int{1, 12345, 65534, 1 << 31, 1<<32 - 2} {
		name := fmt.Sprintf("owners/%d", id)
		b.write(name, "x")
		b.must(os.Lchown(b.path(name), id, id^1))
		b.must(os.Symlink("x", b.path(name+" link")))
		b.must(os.Lchown(b.path(name+" link"), id, id))
	}
}

// deep makes a path of more than 4,096 bytes, step by step.
func (b *builder) deep() {
	b.mkdir("deep")
	at, err := unix.Open(b.path("deep"), unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	b.must(err)
	for i := range 24 {
		name := fmt.Sprintf("%02d %s", i, strings.Repeat("d", 230))
		b.must(unix.Mkdirat(at, name, 0o755))
		below, err := unix.Openat(at, name, unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		b.must(err)
		b.must(unix.Close(at))
		at = below
	}
	f, err := unix.Openat(at, "the bottom", unix.O_CREAT|unix.O_WRONLY|unix.O_CLOEXEC, 0o644)
	b.must(err)
	_, err = unix.Write(f, []byte("you found it"))
	b.must(err)
	b.must(unix.Fsetxattr(f, "user.deep", []byte("down"), 0))
	b.must(unix.Close(f))
	b.must(unix.Symlinkat("../the top", at, "link"))
	b.must(unix.Linkat(at, "the bottom", at, "again", 0))
	b.must(unix.Mkfifoat(at, "fifo", 0o600))
	b.must(unix.Close(at))
}

// Times are instants that a file may have.
func Times() []time.Time {
	return []time.Time{
		time.Date(1910, 2, 3, 4, 5, 6, 700, time.UTC), time.Date(1969, 12, 31, 23, 59, 59, 999999999, time.UTC), time.Unix(0, 0),
		time.Unix(0, 1), time.Date(2001, 9, 9, 1, 46, 40, 123456789, time.UTC), time.Date(2024, 2, 29, 12, 0, 0, 120000000, time.UTC),
		time.Date(2038, 1, 19, 3, 14, 8, 0, time.UTC), time.Date(2400, 12, 31, 23, 59, 59, 1, time.UTC),
	}
}

func (b *builder) times() {
	b.mkdir("times")
	for i, at := range Times() {
		file, dir, link := fmt.Sprintf("times/file %d", i), fmt.Sprintf("times/dir %d", i), fmt.Sprintf("times/link %d", i)
		b.write(file, "x")
		b.mkdir(dir)
		b.must(os.Symlink("x", b.path(link)))
		for _, name := range []string{file, dir, link} {
			b.touch(name, at)
		}
	}
	// Directories whose content was made in any order get times of the past.
	for _, name := range []string{"names", "names/dirs", "special", "times", ""} {
		b.touch(name, time.Date(2020, 1, 2, 3, 4, 5, 678901234, time.UTC))
	}
}

func (b *builder) touch(name string, at time.Time) {
	b.Helper()
	ts := unix.Timespec{Sec: at.Unix(), Nsec: int64(at.Nanosecond())}
	b.must(unix.UtimesNanoAt(unix.AT_FDCWD, b.path(name), []unix.Timespec{ts, ts}, unix.AT_SYMLINK_NOFOLLOW))
}

// Small fills dir with n files of up to some kilobytes, a hundred to a directory, some of them alike.
func Small(t testing.TB, dir string, n int, seed uint64) {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 2))
	text := strings.Repeat("the quick brown fox jumps over the lazy dog, and 0123456789 times around. ", 300)
	for i := range n {
		in := filepath.Join(dir, fmt.Sprintf("d%d", i/10_000), fmt.Sprintf("%03d", i/100%100))
		if i%100 == 0 {
			if err := os.MkdirAll(in, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		at, size := r.IntN(len(text)/2), r.IntN(len(text)/2)
		body := fmt.Sprintf("%d\n%s", i, text[at:at+size])
		if i%50 == 7 {
			body = "the same in several files"
		}
		if err := os.WriteFile(filepath.Join(in, fmt.Sprintf("file-%05d.txt", i)), []byte(body), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
