package world

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/miekg/dns"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/demo/cluster"
	"github.com/lifeboat-dr/lifeboat/internal/demo/process"
	"github.com/lifeboat-dr/lifeboat/internal/demo/programs"
	"github.com/lifeboat-dr/lifeboat/internal/demo/shop"
)

// startTimeout bounds how long a service of the world may take to answer.
const startTimeout = 4 * time.Minute

// Cluster is the database server of a site.
func (w *World) Cluster(site string) *cluster.Cluster {
	return &cluster.Cluster{Installation: w.inst, Data: w.path(site, "pgdata"), Log: w.path(site, "postgres.log"),
		Host: Addresses[site], Port: w.state.Ports.Postgres}
}

// serverSettings are what both servers have alike. Synchronous commit and fsync stay on, as PostgreSQL has them.
// Dynamic shared memory lives in the data folder: what a killed server leaves there goes with the folder.
var serverSettings = []string{
	"unix_socket_directories = ''", "dynamic_shared_memory_type = mmap", "shared_buffers = 32MB", "max_connections = 60",
	"wal_level = replica", "wal_log_hints = on", "hot_standby = on", "max_wal_senders = 10", "max_replication_slots = 10",
	"wal_keep_size = 256MB", "max_wal_size = 512MB", "max_slot_wal_keep_size = 1GB", "log_line_prefix = '%m [%p] %q%a '",
}

// siteSettings are those that differ.
func (w *World) siteSettings(site string) []string {
	return []string{
		fmt.Sprintf("listen_addresses = '%s'", Addresses[site]), fmt.Sprintf("port = %d", w.state.Ports.Postgres),
		fmt.Sprintf("cluster_name = '%s'", site),
	}
}

// makePrimary makes the database in east, with the shop's tables and role in it.
func (w *World) makePrimary(ctx context.Context) error {
	c := w.Cluster(East)
	w.say("PostgreSQL %d primary in east: %s", w.inst.Major, c.Addr())
	if err := c.Init(ctx, w.path("secrets", adminPassword), append(serverSettings, w.siteSettings(East)...)...); err != nil {
		return err
	}
	if err := c.Start(ctx); err != nil {
		return err
	}
	password, err := w.secret(ctx, shopPassword)
	if err != nil {
		return err
	}
	if err := w.sql(ctx, East, "postgres", "create database "+Database,
		fmt.Sprintf("create role shop login password '%s'", password)); err != nil { // hexadecimal, made here
		return err
	}
	return w.sql(ctx, East, Database, shop.Schema, "grant select, insert, update on orders, pulse to shop")
}

// makeStandby makes the database in west a streaming hot standby of the one in east.
func (w *World) makeStandby(ctx context.Context) error {
	c, source := w.Cluster(West), w.Cluster(East)
	w.say("PostgreSQL %d hot standby in west: %s, from a base backup", w.inst.Major, c.Addr())
	password, err := w.secret(ctx, adminPassword)
	if err != nil {
		return err
	}
	if err := c.BaseBackup(ctx, source, password); err != nil {
		return err
	}
	conninfo := fmt.Sprintf("host=%s port=%d user=%s password=%s application_name=%s", source.Host, source.Port, cluster.Admin,
		password, standbyName(West))
	if err := c.Configure("postgresql.conf", w.siteSettings(West)...); err != nil {
		return err
	}
	if err := c.Configure("postgresql.auto.conf", fmt.Sprintf("primary_conninfo = '%s'", conninfo)); err != nil {
		return err
	}
	if err := c.Configure("standby.signal"); err != nil {
		return err
	}
	return c.Start(ctx)
}

// standbyName is what a site's standby calls itself to its primary.
func standbyName(site string) string { return "lifeboat_" + site }

// synchronize makes the primary wait for the standby with each commit, and waits until it does.
func (w *World) synchronize(ctx context.Context) error {
	w.say("replication east → west becomes synchronous: no order is acknowledged before west has it")
	err := w.sql(ctx, East, "postgres", fmt.Sprintf("alter system set synchronous_standby_names = '%s'", standbyName(West)),
		"select pg_reload_conf()")
	if err != nil {
		return err
	}
	return w.Protected(ctx, East)
}

// sql runs statements, one after the other, at a site's server.
func (w *World) sql(ctx context.Context, site, database string, statements ...string) error {
	conn, err := w.Connect(ctx, site, database)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	for _, statement := range statements {
		if _, err := conn.Exec(ctx, statement, pgx.QueryExecModeSimpleProtocol); err != nil {
			return failure.WrapAs(failure.Unavailable, err, "run SQL", "PostgreSQL in "+site)
		}
	}
	return nil
}

// startDNS starts the name server, with the shop's name at east.
func (w *World) startDNS(ctx context.Context) error {
	w.say("name server: %s, with %s → %s, TTL %s", w.Resolver(), trimDot(Name), Addresses[East], TTL)
	record := fmt.Sprintf("%s %d IN A %s", Name, int(TTL.Seconds()), Addresses[East])
	err := w.spawn("dns", w.path("dns", "log"), w.binary, programs.NameServer, "--listen", w.Resolver(), "--zone", Zone, "--record", record,
		"--file", w.path("dns", "zone"), "--key", keyName, "--algorithm", keyAlg, "--secret", "file:"+w.path("secrets", tsigKey))
	if err != nil {
		return err
	}
	return until(ctx, "the name server", func(ctx context.Context) error {
		reply, err := dns.ExchangeContext(ctx, new(dns.Msg).SetQuestion(Name, dns.TypeA), w.Resolver())
		if err == nil && len(reply.Answer) == 0 {
			err = fmt.Errorf("it answers %s", dns.RcodeToString[reply.Rcode])
		}
		return err
	})
}

// shopArgs is the shop's command line at a site, but for its listener and database.
func (w *World) shopArgs(site string) []string {
	return []string{w.binary, programs.Shop, "--password", "file:" + w.path("secrets", shopPassword),
		"--log", w.path(site, "shop.log")}
}

// uploads is the folder of uploaded files at a site.
const uploads = "uploads"

// startVault starts the vault server, at a place of its own that no site's disaster reaches.
func (w *World) startVault(ctx context.Context) error {
	address := w.vaultAddress()
	w.say("vault server, in restic's format: %s", w.vaultURL())
	if err := w.lifeboat(ctx, "add a user to", "the vault server", "vault", "serve", "user", "add", App, "--data", w.path("vault", "data"),
		"--user-password-file", w.path("secrets", vaultUser)); err != nil {
		return err
	}
	if err := w.spawn("vault", w.path("vault", "log"), w.binary, "vault", "serve", "--data", w.path("vault", "data"), "--listen", address); err != nil {
		return err
	}
	return until(ctx, "the vault server", func(ctx context.Context) error {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
		if err == nil {
			err = conn.Close()
		}
		return err
	})
}

func (w *World) vaultAddress() string {
	return net.JoinHostPort(thirdPlace, strconv.Itoa(w.state.Ports.Vault))
}

func (w *World) vaultURL() string { return fmt.Sprintf("rest:http://%s/%s/", w.vaultAddress(), App) }

// makeVault makes the vault, and the folder of uploads in east.
func (w *World) makeVault(ctx context.Context) error {
	if err := os.Mkdir(w.path(East, uploads), 0o755); err != nil {
		return failure.WrapAs(failure.Denied, err, "make folder", w.path(East, uploads))
	}
	return w.lifeboat(ctx, "make", "the vault", "-c", w.Config(), "vault", "init", "-r", vaultName)
}

// vaultName is the vault's in lifeboat.yaml.
const vaultName = "main"

// lifeboat runs the program to its end. Op and subject say what for.
func (w *World) lifeboat(ctx context.Context, op, subject string, words ...string) error {
	cmd := exec.CommandContext(ctx, w.binary, words...)
	cmd.Env, cmd.Dir = w.Env(), w.dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return failure.WrapAs(failure.Unavailable, fmt.Errorf("%w: %s", err, out), op, subject)
	}
	return nil
}

// installBinary puts the program where the servers' user can run it: it works for him on the hosts, and the one that runs
// may lie in a folder that is closed to him.
func (w *World) installBinary(context.Context) error {
	if w.inst.User == "" {
		return nil
	}
	program, err := os.ReadFile(w.binary)
	if err == nil {
		err = os.WriteFile(w.hostBinary(), program, 0o755)
	}
	if err != nil {
		return failure.WrapAs(failure.Denied, err, "install", w.hostBinary())
	}
	return nil
}

// hostBinary is the lifeboat program on the hosts.
func (w *World) hostBinary() string {
	if w.inst.User == "" {
		return w.binary
	}
	return w.path("lifeboat")
}

// firstPoint has everything in the vault captured once, so that the world can be recovered from its beginning on.
func (w *World) firstPoint(ctx context.Context) error {
	return w.lifeboat(ctx, "make", "a first recovery point", "-c", w.Config(), "protect", App, "--once")
}

// Upload reads a file of the uploads at a site.
func (w *World) Upload(site, name string) (content []byte, there bool, err error) {
	content, err = os.ReadFile(w.path(site, uploads, name))
	switch {
	case err == nil:
		return content, true, nil
	case errors.Is(err, fs.ErrNotExist):
		return nil, false, nil
	}
	return nil, false, failure.WrapAs(failure.Denied, err, "read", name)
}

func (w *World) startShop(ctx context.Context) error { return w.startShopAt(ctx, East) }

// startShopAt starts the shop of a site and waits until it takes orders.
func (w *World) startShopAt(ctx context.Context, site string) error {
	address := w.ShopAddress(site)
	w.say("the shop in %s: http://%s", site, address)
	args := append(w.shopArgs(site), "--listen", address, "--database", w.Cluster(site).Addr(), "--uploads", w.path(site, uploads))
	// With the mark of the folder that lifeboat.yaml names, Lifeboat sees the program as one that it looks after.
	if err := w.spawn("shop", os.DevNull, append([]string{"env", "LIFEBOAT_FOLDER=" + w.path(site, "shop")}, args...)...); err != nil {
		return err
	}
	return until(ctx, "the shop in "+site, func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/healthz", nil)
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("it answers %s", resp.Status)
		}
		return nil
	})
}

// spawn starts a program that outlives this process: in a session of its own, with its output in a file. It is written
// down at once.
func (w *World) spawn(name, log string, args ...string) error {
	out, err := os.OpenFile(log, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return failure.WrapAs(failure.Denied, err, "start", name)
	}
	defer out.Close()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdout, cmd.Stderr, cmd.Dir = out, out, w.dir
	cmd.Env = append(os.Environ(), w.tag())
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return failure.WrapAs(failure.Unavailable, err, "start", name)
	}
	w.reaped.Go(func() { cmd.Wait() }) // how it ended is seen by whoever asks it something
	id, ok := process.Find(cmd.Process.Pid)
	if !ok {
		return failure.New(failure.Unavailable, "start", name, "it ended at once; see %s", log)
	}
	w.state.Processes = append(w.state.Processes, id)
	return w.save()
}

// until asks again and again, and gives up after startTimeout with the last answer.
func until(ctx context.Context, what string, ask func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		err := ask(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return failure.WrapAs(failure.KindOf(ctx.Err()), err, "wait for", what)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
