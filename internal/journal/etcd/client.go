package etcd

import (
	"context"
	"crypto/rand"
	"fmt"
	"strconv"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/journal"
)

// Layout under the prefix: the format's version, then the incarnation and the records.
const (
	incarnationKey = "v1/incarnation"
	recordPrefix   = "v1/k/"
)

// client speaks to etcd over one connection; its errors are etcd's.
type client struct {
	etcd   *clientv3.Client
	prefix string // of everything of ours
	who    string // whom it speaks to, as a hint for when that one does not answer; may be empty
	remote bool   // over a socket, not in process
	leader bool   // ask for a member with a leader when watching
}

func (c *client) key(key string) string { return c.prefix + recordPrefix + key }

func (c *client) kv(key, value []byte, mod, create int64) journal.KV {
	return journal.KV{Key: string(key[len(c.prefix)+len(recordPrefix):]), Value: value, Mod: mod, Create: create}
}

func (c *client) get(ctx context.Context, key string) (kv journal.KV, ok bool, rev int64, err error) {
	resp, err := c.etcd.Get(ctx, c.key(key))
	if err != nil {
		return journal.KV{}, false, 0, err
	}
	for _, r := range resp.Kvs {
		return c.kv(r.Key, r.Value, r.ModRevision, r.CreateRevision), true, resp.Header.Revision, nil
	}
	return journal.KV{}, false, resp.Header.Revision, nil
}

func (c *client) list(ctx context.Context, prefix string, opt journal.ListOptions) ([]journal.KV, int64, error) {
	start := c.key(max(prefix, opt.From))
	end := clientv3.GetPrefixRangeEnd(c.key(prefix))
	if start >= end { // opt.From lies beyond the prefix
		resp, err := c.etcd.Get(ctx, start, clientv3.WithCountOnly())
		if err != nil {
			return nil, 0, err
		}
		return nil, resp.Header.Revision, nil
	}
	resp, err := c.etcd.Get(ctx, start, clientv3.WithRange(end), clientv3.WithLimit(int64(opt.Limit)))
	if err != nil {
		return nil, 0, err
	}
	kvs := make([]journal.KV, 0, len(resp.Kvs))
	for _, r := range resp.Kvs {
		kvs = append(kvs, c.kv(r.Key, r.Value, r.ModRevision, r.CreateRevision))
	}
	return kvs, resp.Header.Revision, nil
}

func (c *client) commit(ctx context.Context, txn journal.Txn) (rev int64, ok bool, err error) {
	conds := make([]clientv3.Cmp, 0, len(txn.If))
	for _, cond := range txn.If {
		conds = append(conds, clientv3.Compare(clientv3.ModRevision(c.key(cond.Key)), "=", cond.Mod))
	}
	ops := make([]clientv3.Op, 0, len(txn.Then))
	for _, op := range txn.Then {
		key := c.key(op.Key)
		switch {
		case op.Prefix:
			ops = append(ops, clientv3.OpDelete(key, clientv3.WithPrefix()))
		case op.Delete:
			ops = append(ops, clientv3.OpDelete(key))
		case op.Session != "":
			lease, err := leaseID(op.Session)
			if err != nil {
				return 0, false, err
			}
			ops = append(ops, clientv3.OpPut(key, string(op.Value), clientv3.WithLease(lease)))
		default:
			ops = append(ops, clientv3.OpPut(key, string(op.Value)))
		}
	}
	resp, err := c.etcd.Txn(ctx).If(conds...).Then(ops...).Commit()
	if err != nil {
		return 0, false, err
	}
	return resp.Header.Revision, resp.Succeeded, nil
}

// grant rounds ttl up to etcd's unit, a second.
func (c *client) grant(ctx context.Context, ttl time.Duration) (journal.Session, error) {
	seconds := int64((ttl + time.Second - 1) / time.Second)
	resp, err := c.etcd.Grant(ctx, seconds)
	if err != nil {
		return "", err
	}
	return journal.Session(strconv.FormatInt(int64(resp.ID), 16)), nil
}

func (c *client) keepAlive(ctx context.Context, s journal.Session) error {
	lease, err := leaseID(s)
	if err != nil {
		return err
	}
	_, err = c.etcd.KeepAliveOnce(ctx, lease)
	return err
}

func (c *client) revoke(ctx context.Context, s journal.Session) error {
	lease, err := leaseID(s)
	if err != nil {
		return err
	}
	_, err = c.etcd.Revoke(ctx, lease)
	return err
}

func leaseID(s journal.Session) (clientv3.LeaseID, error) {
	id, err := strconv.ParseInt(string(s), 16, 64)
	if err != nil || id == 0 {
		return 0, failure.New(failure.NotFound, "use", "session "+string(s), "the session is over")
	}
	return clientv3.LeaseID(id), nil
}

// incarnation reads the history's name and gives it one the first time.
func (c *client) incarnation(ctx context.Context) (string, error) {
	key := c.prefix + incarnationKey
	fresh := rand.Text()
	resp, err := c.etcd.Get(ctx, key)
	if err == nil && len(resp.Kvs) == 0 {
		_, err = c.etcd.Txn(ctx).If(clientv3.Compare(clientv3.CreateRevision(key), "=", 0)).
			Then(clientv3.OpPut(key, fresh)).Commit()
		if err == nil {
			resp, err = c.etcd.Get(ctx, key)
		}
	}
	if err != nil {
		return "", err
	}
	if len(resp.Kvs) != 1 || len(resp.Kvs[0].Value) == 0 {
		return "", fmt.Errorf("%s is empty", key)
	}
	return string(resp.Kvs[0].Value), nil
}
