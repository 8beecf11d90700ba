package restorer

import (
	"container/list"
	"sync"

	"github.com/lifeboat-dr/lifeboat/internal/vault/fsnode"
)

// maxOpenDirs is how many directories are kept open that nobody uses just now.
const maxOpenDirs = 128

// dirCache opens directories of the target, each from its parent and never through a symbolic link, and keeps the last
// ones open.
type dirCache struct {
	mu       sync.Mutex
	folders  []folder
	target   *fsnode.Dir
	readOnly bool // nothing may be changed, not even the right to look
	open     map[int32]*openDir
	idle     list.List // of *openDir that nobody uses, the one used last in front
}

type openDir struct {
	folder int32
	dir    *fsnode.Dir
	users  int
	idle   *list.Element
}

func (c *dirCache) init(folders []folder, target *fsnode.Dir) {
	c.folders, c.target, c.open = folders, target, map[int32]*openDir{}
}

// acquire opens a folder. The caller gives it back with release.
func (c *dirCache) acquire(i int32) (*fsnode.Dir, error) {
	if i == 0 {
		return c.target, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.get(i)
}

func (c *dirCache) get(i int32) (*fsnode.Dir, error) {
	if i == 0 {
		return c.target, nil
	}
	if o := c.open[i]; o != nil {
		c.use(o)
		return o.dir, nil
	}
	parent, err := c.get(c.folders[i].parent)
	if err != nil {
		return nil, err
	}
	defer c.put(c.folders[i].parent)
	enter := parent.Enter
	if c.readOnly {
		enter = func(name string) (*fsnode.Dir, bool, error) { d, err := parent.Dir(name); return d, false, err }
	}
	dir, unlocked, err := enter(c.folders[i].name)
	if err != nil {
		return nil, err
	}
	c.folders[i].unlocked = c.folders[i].unlocked || unlocked
	c.open[i] = &openDir{folder: i, dir: dir, users: 1}
	return dir, nil
}

func (c *dirCache) use(o *openDir) {
	o.users++
	if o.idle != nil {
		c.idle.Remove(o.idle)
		o.idle = nil
	}
}

// add takes a folder that is open already, and is in use until release.
func (c *dirCache) add(i int32, dir *fsnode.Dir) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open[i] = &openDir{folder: i, dir: dir, users: 1}
}

// release gives a folder back that acquire gave.
func (c *dirCache) release(i int32) {
	if i == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.put(i)
}

func (c *dirCache) put(i int32) {
	o := c.open[i]
	if i == 0 || o == nil {
		return
	}
	if o.users--; o.users > 0 {
		return
	}
	o.idle = c.idle.PushFront(o)
	for c.idle.Len() > maxOpenDirs {
		last := c.idle.Back()
		c.drop(last.Value.(*openDir))
	}
}

func (c *dirCache) drop(o *openDir) {
	c.idle.Remove(o.idle)
	delete(c.open, o.folder)
	o.dir.Close()
}

// close closes everything. Nobody uses any.
func (c *dirCache) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, o := range c.open {
		o.dir.Close()
	}
	c.open = nil
	c.idle.Init()
}
