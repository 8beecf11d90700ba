package fsnode

import (
	"os/user"
	"strconv"
	"sync"
)

// names remembers what numbers of users or groups are called.
type names struct {
	look func(id string) (string, error)

	mu    sync.RWMutex
	known map[uint32]string
}

// of gives the name of id, or "" when it has none.
func (n *names) of(id uint32) string {
	n.mu.RLock()
	name, ok := n.known[id]
	n.mu.RUnlock()
	if ok {
		return name
	}
	name, err := n.look(strconv.FormatUint(uint64(id), 10))
	if err != nil {
		name = "" // a number without a name is stored as a number
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.known == nil {
		n.known = map[uint32]string{}
	}
	n.known[id] = name
	return name
}

func lookupUser(id string) (string, error) {
	u, err := user.LookupId(id)
	if err != nil {
		return "", err
	}
	return u.Username, nil
}

func lookupGroup(id string) (string, error) {
	g, err := user.LookupGroupId(id)
	if err != nil {
		return "", err
	}
	return g.Name, nil
}
