// Package world makes the place in which the demo happens: two sites on loopback, each with a folder of its own, a
// PostgreSQL primary in east, the shop in east, and a name server and a vault server that belong to neither. West has a
// synchronous hot standby, or no database at all when it is to come from the vault. The world can destroy a site for real,
// and it can prove which processes and folders are its own, so that it takes all of them away again, also those of a demo
// that was killed.
//
// It knows nothing of recovery. That is done by what reads the lifeboat.yaml that the world writes.
//
// Start with [Create]; end with [World.Down]. A world that was left running is found again by [Open], and those that
// were left behind by [CleanLeftovers].
package world

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/demo/cluster"
	"github.com/lifeboat-dr/lifeboat/secret"
)

// The sites. On Linux all of 127.0.0.0/8 is loopback, so each site has an address of its own and the same ports, as two
// hosts would: an A record is enough to move clients.
const (
	East = "east"
	West = "west"
)

// Addresses of the sites and of the third place, where the name server and the vault server are.
var Addresses = map[string]string{East: "127.0.0.2", West: "127.0.0.3"}

const thirdPlace = "127.0.0.1"

// The names in the world.
const (
	App      = "shop"
	Zone     = "demo.test."
	Name     = "shop.demo.test."
	Database = "shop"
	TTL      = time.Second
	keyName  = "lifeboat."
	keyAlg   = "hmac-sha256."
)

// Ports that the world uses, the same at both sites.
type Ports struct {
	Shop      int `json:"shop"`
	ShopDrill int `json:"shop_drill"`
	Postgres  int `json:"postgres"`
	DNS       int `json:"dns"`
	Vault     int `json:"vault"`
}

// Recovery is where the database of a world comes back from.
type Recovery string

// The ways of recovery.
const (
	FromStandby Recovery = "standby" // a synchronous standby, which is there already
	FromVault   Recovery = "vault"   // base points, and a log that a receiver at the other site gets synchronously
)

// Options say what world to make.
type Options struct {
	// DB is where the database comes back from. Empty: from a standby.
	DB Recovery
	// Dir is its folder: one that does not exist or is empty. Empty: a new one in the folder for temporary files.
	Dir string
	// Binary is the lifeboat program, which also holds the shop and the name server.
	Binary string
	// Logs is a folder for the logs of a world that could not be made. Empty: they are gone.
	Logs string
	// Say is told what happens, in words. Nil: nobody.
	Say func(format string, args ...any)
}

// World is one world, up or coming up. It is used by one goroutine at a time.
type World struct {
	dir    string
	binary string
	db     Recovery
	state  state
	inst   *cluster.Installation
	say    func(format string, args ...any)
	reaped sync.WaitGroup // children of this process, each waited for
}

// Create makes a world and returns when the shop takes orders. With [FromVault] commits wait for nobody until
// [World.Protect] has run. When it fails, or ctx ends, nothing is left of it.
func Create(ctx context.Context, opt Options) (*World, error) {
	if opt.Say == nil {
		opt.Say = func(string, ...any) {}
	}
	inst, err := cluster.Find(ctx)
	if err != nil {
		return nil, err
	}
	if err := checkAddresses(); err != nil {
		return nil, err
	}
	if opt.DB == "" {
		opt.DB = FromStandby
	}
	w := &World{binary: opt.Binary, db: opt.DB, inst: inst, say: opt.Say}
	made := opt.Dir == ""
	if made {
		if opt.Dir, err = os.MkdirTemp("", folderPrefix); err != nil {
			return nil, failure.WrapAs(failure.Denied, err, "make folder", os.TempDir())
		}
	}
	if err := w.claim(opt.Dir, made); err != nil {
		return nil, err
	}
	if err := w.build(ctx); err != nil {
		clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), downTimeout)
		defer cancel()
		if opt.Logs != "" && ctx.Err() == nil {
			w.SaveLogs(opt.Logs)
		}
		return nil, errors.Join(err, w.Down(clean))
	}
	return w, nil
}

// claim takes the folder and writes down, before anything else, whose it is.
func (w *World) claim(dir string, made bool) error {
	dir, err := filepath.Abs(dir)
	if err == nil {
		err = os.MkdirAll(dir, 0o755)
	}
	if err == nil {
		dir, err = filepath.EvalSymlinks(dir)
	}
	if err != nil {
		return failure.WrapAs(failure.Denied, err, "make folder", dir)
	}
	if err := vacant(dir); err != nil {
		return err
	}
	var id [8]byte
	rand.Read(id[:]) // never fails
	w.dir = dir
	w.state = newState(dir, hex.EncodeToString(id[:]), made)
	w.inst.Env = []string{w.tag()}
	return w.save()
}

// vacant reports, as failure.Exists, that a folder holds something.
func vacant(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return failure.WrapAs(failure.Denied, err, "read folder", dir)
	}
	if len(entries) > 0 {
		return failure.New(failure.Exists, "use folder", dir, "it is not empty").
			WithHint("name a folder that is empty or does not exist; a demo that was kept there ends with: lifeboat demo --stop %s", dir)
	}
	return nil
}

// checkAddresses reports, as failure.Unsupported, that this machine lacks the sites' addresses.
func checkAddresses() error {
	for _, address := range Addresses {
		listener, err := net.Listen("tcp", net.JoinHostPort(address, "0"))
		if err != nil {
			return failure.WrapAs(failure.Unsupported, err, "listen", address).
				WithHint("the two sites need a loopback address each; on macOS: sudo ifconfig lo0 alias %s; sudo ifconfig lo0 alias %s",
					Addresses[East], Addresses[West])
		}
		listener.Close()
	}
	return nil
}

// build puts the world together.
func (w *World) build(ctx context.Context) error {
	if err := os.Chmod(w.dir, 0o755); err != nil { // PostgreSQL's user goes through it
		return failure.WrapAs(failure.Denied, err, "open folder", w.dir)
	}
	if err := w.inst.Reachable(ctx, w.dir); err != nil {
		return err
	}
	ports, err := freePorts()
	if err != nil {
		return err
	}
	w.state.Ports = ports
	copies := []func(context.Context) error{w.makeStandby, w.synchronize}
	if w.db == FromVault {
		copies = []func(context.Context) error{w.installBinary} // the rest is Lifeboat's to do
	}
	for _, step := range slices.Concat(
		[]func(context.Context) error{w.makeFolders, w.makeSecrets, w.startDNS, w.startVault, w.makePrimary}, copies,
		[]func(context.Context) error{w.writeConfig, w.makeVault, w.startShop, w.firstPoint}) {
		if err := step(ctx); err != nil {
			return err
		}
		if err := w.save(); err != nil {
			return err
		}
	}
	return nil
}

func (w *World) makeFolders(ctx context.Context) error {
	for name, mode := range map[string]fs.FileMode{"secrets": 0o700, "dns": 0o755, "state": 0o700, "vault/data": 0o700} {
		if err := os.MkdirAll(w.path(name), mode); err != nil {
			return failure.WrapAs(failure.Denied, err, "make folder", w.path(name))
		}
	}
	return errors.Join(w.Rack(ctx, East), w.Rack(ctx, West))
}

// Rack gives a site an empty machine: a folder that the database's user may write to. Of what was begun at the site since
// its machine was destroyed nothing stays: there was no machine to begin it on. A site with a database is left alone.
func (w *World) Rack(ctx context.Context, site string) error {
	if exists(w.path(site)) && !exists(w.path(site, "pgdata")) {
		begun, _, err := w.Destroy(ctx, site)
		if err != nil {
			return err
		}
		if err := os.RemoveAll(begun); err != nil {
			return failure.WrapAs(failure.Denied, err, "remove", begun)
		}
	}
	if err := os.Mkdir(w.path(site), 0o755); err != nil {
		return failure.WrapAs(failure.Denied, err, "make folder", w.path(site))
	}
	return w.inst.Own(w.path(site))
}

// makeSecrets writes new passwords and a new TSIG key, each to a file that its owner alone may read.
func (w *World) makeSecrets(context.Context) error {
	for _, name := range []string{adminPassword, shopPassword, vaultPassword, vaultUser, tsigKey} {
		var b [32]byte
		rand.Read(b[:]) // never fails
		text := hex.EncodeToString(b[:])
		if name == tsigKey {
			text = base64.StdEncoding.EncodeToString(b[:])
		}
		if err := os.WriteFile(w.path("secrets", name), []byte(text+"\n"), 0o600); err != nil {
			return failure.WrapAs(failure.Denied, err, "write secret", name)
		}
	}
	return nil
}

// The files of the secrets folder.
const (
	adminPassword = "postgres.password"
	shopPassword  = "shop.password"
	vaultPassword = "vault.password"
	vaultUser     = "vault-user.password" // that the vault server asks for
	tsigKey       = "tsig.key"
)

func (w *World) secret(ctx context.Context, name string) (string, error) {
	value, err := secret.Ref("file:" + w.path("secrets", name)).Resolve(ctx)
	return value.Reveal(), err
}

// freePorts picks ports that nobody listens on at any of the world's addresses. They are below the range from which
// systems take the ports of outgoing connections, so that none of those takes one before its server does.
func freePorts() (Ports, error) {
	var p Ports
	taken := map[int]bool{}
	for _, port := range []*int{&p.Shop, &p.ShopDrill, &p.Postgres, &p.DNS, &p.Vault} {
		for attempt := 0; *port == 0; attempt++ {
			var b [2]byte
			rand.Read(b[:]) // never fails
			candidate := 15000 + (int(b[0])<<8|int(b[1]))%17000
			if !taken[candidate] && portFree(candidate) {
				*port, taken[candidate] = candidate, true
			}
			if attempt == 1000 {
				return p, failure.New(failure.Unavailable, "find a free port", "", "none of 1000 between 15000 and 32000 is free")
			}
		}
	}
	return p, nil
}

func portFree(port int) bool {
	for _, host := range []string{thirdPlace, Addresses[East], Addresses[West]} {
		address := net.JoinHostPort(host, strconv.Itoa(port))
		stream, err := net.Listen("tcp", address)
		if err != nil {
			return false
		}
		stream.Close()
		packets, err := net.ListenPacket("udp", address)
		if err != nil {
			return false
		}
		packets.Close()
	}
	return true
}

// path is a file or folder in the world.
func (w *World) path(parts ...string) string {
	return filepath.Join(append([]string{w.dir}, parts...)...)
}

// Dir is the world's folder.
func (w *World) Dir() string { return w.dir }

// Config is the path of its lifeboat.yaml.
func (w *World) Config() string { return w.path("lifeboat.yaml") }

// Resolver is the name server, as host:port.
func (w *World) Resolver() string {
	return net.JoinHostPort(thirdPlace, strconv.Itoa(w.state.Ports.DNS))
}

// ShopURL is where clients place orders: by name.
func (w *World) ShopURL() string {
	return fmt.Sprintf("http://%s:%d/orders", trimDot(Name), w.state.Ports.Shop)
}

// UploadsURL is where clients put files, below this.
func (w *World) UploadsURL() string {
	return fmt.Sprintf("http://%s:%d/uploads/", trimDot(Name), w.state.Ports.Shop)
}

// Connect opens a connection to the database server of a site, as its superuser. The caller closes it.
func (w *World) Connect(ctx context.Context, site, database string) (*pgx.Conn, error) {
	return w.dial(ctx, net.JoinHostPort(Addresses[site], strconv.Itoa(w.state.Ports.Postgres)), database)
}

// dial opens a connection to the server at an address.
func (w *World) dial(ctx context.Context, address, database string) (*pgx.Conn, error) {
	password, err := w.secret(ctx, adminPassword)
	if err != nil {
		return nil, err
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, failure.WrapAs(failure.Invalid, err, "connect", address)
	}
	cfg, err := pgx.ParseConfig(fmt.Sprintf("host=%s port=%s user=%s dbname=%s sslmode=disable connect_timeout=5 application_name=demo",
		host, port, cluster.Admin, database))
	if err != nil {
		return nil, failure.WrapAs(failure.Internal, err, "connect", address)
	}
	cfg.Password = password
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, failure.WrapAs(failure.Unavailable, err, "connect", "PostgreSQL at "+address)
	}
	return conn, nil
}

func trimDot(name string) string { return name[:len(name)-1] }
