package pglog

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/pgpoint"
	"github.com/lifeboat-dr/lifeboat/model"
	"github.com/lifeboat-dr/lifeboat/secret"
)

// Config says what a receiver does. It may hold secrets: its file is for the receiver's user alone.
type Config struct {
	pgpoint.Whose
	Site model.SiteID `json:"site"` // where it runs: whose chain of log snapshots it writes
	// Servers are all that may be the primary, now or after a failover. The receiver connects to the one that is.
	Servers []Server `json:"servers"`
	// From names the site whose server is streamed from, primary or not; empty: whichever is the primary.
	From model.SiteID `json:"from,omitempty"`
	// Name is the application name, which synchronous_standby_names refers to; Slot the replication slot, which is made
	// when there is none. An empty Slot streams without.
	Name string `json:"name"`
	Slot string `json:"slot,omitempty"`
	// SystemID is the cluster that is expected; 0: whichever the primary is of. A server of another cluster is passed over
	// while SystemID is set.
	SystemID uint64 `json:"system_id,string,omitempty"`
	// Spool is the folder for log that is not folded yet; a folder for each cluster is made in it.
	Spool string `json:"spool"`
	// Vault is what the spool is folded into. Its references, and those of Servers, may name Secrets.
	Vault   model.Vault       `json:"vault"`
	Secrets map[string]string `json:"secrets,omitempty"`

	// FoldEvery is how long log may wait in the spool before it is folded, 0: 10 s, or a minute in a vault that retains its
	// objects; it is folded before when FoldBytes have come, 0: 64 MiB.
	FoldEvery model.Duration `json:"fold_every,omitempty"`
	FoldBytes int64          `json:"fold_bytes,omitempty"`
	// KeepEvery is how often it is looked for what is not needed any more: log that no base point needs, log snapshots that
	// newer ones replaced. 0: 10 min.
	KeepEvery model.Duration `json:"keep_every,omitempty"`
	// Margin is how old log must be to be dropped at all, so that a base point which is still being made finds the log from
	// its beginning on. 0: 24 h.
	Margin model.Duration `json:"margin,omitempty"`
	// AlarmBytes and AlarmAge are how much, and how old, what is not folded may become before it is an alarm. 0: 1 GiB and
	// 15 min. Reserve is how much of the spool's disk stays free, 0: 256 MiB: below that nothing is received or
	// acknowledged, and the server keeps its log.
	AlarmBytes int64          `json:"alarm_bytes,omitempty"`
	AlarmAge   model.Duration `json:"alarm_age,omitempty"`
	Reserve    int64          `json:"reserve,omitempty"`
	// Status is how often the server is told where we are, and asked to answer, when nothing else happens, 0: 2 s. It must
	// be well below the server's wal_sender_timeout. A server that leaves ten in a row without an answer is given up.
	Status model.Duration `json:"status,omitempty"`
}

// Server is one place where the primary may be.
type Server struct {
	Site model.SiteID `json:"site"`
	// Conn is libpq's connection string, as "host=10.0.1.5 port=5432 user=lifeboat sslmode=verify-full"; Password a secret.
	Conn     string     `json:"conn"`
	Password secret.Ref `json:"password,omitempty"`
}

// The files of a receiver's folder.
const (
	configFile = "config.json"
	stateFile  = "state.json"
	lockFile   = "lock"
	drainFile  = "drain.json"
)

// Defaults of Config.
const (
	foldEvery = 10 * time.Second
	// With Object Lock each snapshot stays, and all that it is made of, until its retention ends.
	foldEveryRetained = time.Minute
	foldBytes         = 64 << 20
	keepEvery         = 10 * time.Minute
	margin            = 24 * time.Hour
	alarmBytes        = 1 << 30
	alarmAge          = 15 * time.Minute
	reserve           = 256 << 20
	statusIs          = 2 * time.Second
)

// WithDefaults fills in what is zero.
func (c Config) WithDefaults() Config {
	duration := func(d *model.Duration, or time.Duration) {
		if *d == 0 {
			*d = model.Duration(or)
		}
	}
	size := func(n *int64, or int64) {
		if *n == 0 {
			*n = or
		}
	}
	if c.Vault.Retain > 0 {
		duration(&c.FoldEvery, foldEveryRetained)
	}
	duration(&c.FoldEvery, foldEvery)
	duration(&c.KeepEvery, keepEvery)
	duration(&c.Margin, margin)
	duration(&c.AlarmAge, alarmAge)
	duration(&c.Status, statusIs)
	size(&c.FoldBytes, foldBytes)
	size(&c.AlarmBytes, alarmBytes)
	size(&c.Reserve, reserve)
	return c
}

// Validate reports what is missing or cannot be: Invalid.
func (c Config) Validate() error {
	wrong := func(format string, args ...any) error {
		return failure.New(failure.Invalid, "configure the receiver of", string(c.Resource), format, args...)
	}
	switch {
	case c.App == "" || c.Resource == "" || c.Site == "":
		return wrong("app, resource and site are needed")
	case len(c.Servers) == 0:
		return wrong("it names no server")
	case c.Name == "":
		return wrong("it has no name: synchronous_standby_names could not refer to it")
	case !filepath.IsAbs(c.Spool):
		return wrong("spool: %q is not absolute", c.Spool)
	case c.Vault.URL == "":
		return wrong("it names no vault")
	}
	for _, s := range c.Servers {
		if _, err := pgconn.ParseConfig(s.Conn); err != nil {
			return wrong("the server at %s: %v", s.Site, err)
		}
	}
	return nil
}

// login is how a server is reached.
func (c Config) login(ctx context.Context, s Server) (*pgconn.Config, error) {
	cfg, err := pgconn.ParseConfig(s.Conn)
	if err != nil {
		return nil, failure.WrapAs(failure.Invalid, err, "connect to the server at", string(s.Site))
	}
	if s.Password != "" {
		password, err := s.Password.Resolve(ctx)
		if err != nil {
			return nil, err
		}
		cfg.Password = password.Reveal()
	}
	if cfg.ConnectTimeout == 0 {
		cfg.ConnectTimeout = connectTimeout
	}
	cfg.RuntimeParams["application_name"] = c.Name
	return cfg, nil
}

// connectTimeout is for one server that does not answer.
const connectTimeout = 5 * time.Second

// Save writes the configuration of the receiver in folder, whole or not at all, readable by its owner alone. A receiver
// that runs there picks it up.
func (c Config) Save(folder string) error {
	if err := c.Validate(); err != nil {
		return err
	}
	text, err := json.MarshalIndent(c, "", " ")
	if err != nil {
		return failure.WrapAs(failure.Internal, err, "write", configFile)
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return failure.WrapAs(failure.Denied, err, "make", folder)
	}
	return replace(filepath.Join(folder, configFile), text)
}

// load reads the configuration of the receiver in folder. NotFound: there is none.
func load(folder string) (Config, error) {
	path := filepath.Join(folder, configFile)
	var c Config
	text, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return c, failure.New(failure.NotFound, "read", path, "there is none")
	case err != nil:
		return c, failure.WrapAs(failure.Denied, err, "read", path)
	}
	if err := json.Unmarshal(text, &c); err != nil {
		return c, failure.WrapAs(failure.Corrupt, err, "understand", path)
	}
	return c, c.Validate()
}

// unseal makes the secrets readable within this process, where nobody else sees them: the environment that a process was
// started with is public, what it sets later is not.
func (c *Config) unseal() error {
	for name, value := range c.Secrets {
		if err := os.Setenv(name, value); err != nil {
			return failure.WrapAs(failure.Internal, err, "set", name)
		}
	}
	c.Secrets = nil
	return nil
}

// replace writes a file in place of what is there, whole, durably and readable by its owner alone.
func replace(path string, content []byte) error {
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return failure.WrapAs(failure.Denied, err, "write", path)
	}
	_, err = f.Write(content)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		return failure.WrapAs(failure.Unavailable, err, "write", path)
	}
	return nil
}
