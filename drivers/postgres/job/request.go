// Package job is the work of the postgres driver on a vault: a hidden program of this binary that captures base points,
// keeps them, and restores from them, on the host of the copy or where Lifeboat runs.
//
// What all jobs on a vault have in common is package vaultjob's. What a base point is and how one is made and brought back
// is that of packages pgpoint, pgbase and pgrestore; when it is done, the driver's. Start with [Main].
package job

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/pgpoint"
	"github.com/lifeboat-dr/lifeboat/internal/pgrestore"
	"github.com/lifeboat-dr/lifeboat/internal/vaultjob"
	"github.com/lifeboat-dr/lifeboat/model"
	"github.com/lifeboat-dr/lifeboat/secret"
)

// Program is the first word of the command line that runs a job: lifeboat pg-job FOLDER.
const Program = "pg-job"

// Op is what a job does.
type Op string

// The ops.
const (
	Capture Op = "capture" // a base point of the primary
	Copy    Op = "copy"    // the vault's replicas are brought in step
	Expire  Op = "expire"  // points that need not be kept are removed
	Promote Op = "promote" // the newest state becomes a primary in the site's data folder
	Drill   Op = "drill"   // the newest state becomes a primary of its own, cut off from everything
	Seed    Op = "seed"    // the newest state becomes a standby that is not started yet
	Restore Op = "restore" // the state that a person named, into a folder or in place
	Prove   Op = "prove"   // a base point is restored apart from everything and checked
	Search  Op = "search"  // the newest state that passes the checks
)

// Request is all that a job is told. It holds secrets and lies in a file that only the job's user can read, until the job
// is over.
type Request struct {
	pgpoint.Whose
	vaultjob.Sealed
	Op    Op               `json:"op"`
	Site  model.SiteID     `json:"site"`
	Token string           `json:"token"`
	Work  string           `json:"work"` // the folder for what outlives the job
	Keep  *model.Retention `json:"keep,omitempty"`

	Source  *Source `json:"source,omitempty"` // of Capture
	Folder  string  `json:"folder,omitempty"` // of Capture: the primary's data folder, if it is here
	MaxRate int64   `json:"max_rate,omitempty"`

	Target *Target `json:"target,omitempty"` // of what restores
	Prove  *Proof  `json:"prove,omitempty"`  // of Prove and Search
}

// Target is what is restored, where, and what becomes of it.
type Target struct {
	To    pgrestore.Target `json:"to,omitzero"`
	Point string           `json:"point,omitempty"` // the base point's snapshot; empty: the best one that is not known to be bad

	Data   string            `json:"data"`
	Spaces map[string]string `json:"spaces,omitempty"` // tablespaces: from the folder that one was in to the folder here
	Apart  bool              `json:"apart,omitempty"`  // tablespaces go beside Data, whatever Spaces says
	Spools []string          `json:"spools,omitempty"`
	// Receiver is the folder of a receiver that has been told to end: its end is waited for.
	Receiver string `json:"receiver,omitempty"`
	// Aside is where an old data folder goes before anything is written: it may hold what the log does not. Empty: it is
	// written over as far as it differs, if it is the same cluster's.
	Aside     string              `json:"aside,omitempty"`
	Overwrite pgrestore.Overwrite `json:"overwrite,omitempty"`

	Bin    string   `json:"bin,omitempty"` // empty: the usual places
	Config string   `json:"config,omitempty"`
	User   string   `json:"user"`
	Start  []string `json:"start,omitempty"`
	Log    string   `json:"log"` // the server's messages
	// Settings are those of the server in its new place; Fresh are more, where the folder had none of its own.
	Settings map[string]string `json:"settings,omitempty"`
	Fresh    map[string]string `json:"fresh,omitempty"`
	// Listen and Port are where a copy that is apart listens: at the first free port from Port on, unless it is Fixed.
	Listen string `json:"listen,omitempty"`
	Port   int    `json:"port,omitempty"`
	Fixed  bool   `json:"fixed,omitempty"`
	// Temp is, for Drill, a folder with a short path for the copy's socket, to be made.
	Temp string `json:"temp,omitempty"`
	// Run leaves a restored server running: as the site's own, or with Listen apart from everything, at Port.
	Run bool `json:"run,omitempty"`
}

// Source is a server, and how to log in there. Passwords are references to the request's secrets.
type Source struct {
	Host                string     `json:"host"`
	Port                int        `json:"port"`
	Database            string     `json:"database"`
	User                string     `json:"user"`
	Password            secret.Ref `json:"password,omitempty"`
	ReplicationUser     string     `json:"replication_user"`
	ReplicationPassword secret.Ref `json:"replication_password,omitempty"`
	SSLMode             string     `json:"sslmode"`
	SSLRootCert         string     `json:"sslrootcert,omitempty"`
	ConnectTimeout      int        `json:"connect_timeout"` // seconds
}

// ordinary is a login for questions, replication one for base backups.
func (s Source) ordinary(ctx context.Context) (*pgx.ConnConfig, error) {
	return s.login(ctx, s.User, s.Password)
}

func (s Source) replication(ctx context.Context) (*pgx.ConnConfig, error) {
	return s.login(ctx, s.ReplicationUser, s.ReplicationPassword)
}

func (s Source) login(ctx context.Context, user string, ref secret.Ref) (*pgx.ConnConfig, error) {
	password, err := ref.Resolve(ctx)
	if err != nil {
		return nil, failure.Wrap(err, "connect to", s.address())
	}
	words := []string{"host=" + quote(s.Host), "port=" + strconv.Itoa(s.Port), "user=" + quote(user), "dbname=" + quote(s.Database),
		"sslmode=" + s.SSLMode, "application_name=lifeboat", "connect_timeout=" + strconv.Itoa(max(1, s.ConnectTimeout))}
	if s.SSLRootCert != "" {
		words = append(words, "sslrootcert="+quote(s.SSLRootCert))
	}
	cfg, err := pgx.ParseConfig(strings.Join(words, " "))
	if err != nil {
		return nil, failure.New(failure.Invalid, "connect to", s.address(), "the settings make no connection string: %v", err)
	}
	cfg.Password = password.Reveal()
	cfg.DefaultQueryExecMode = pgx.QueryExecModeSimpleProtocol
	return cfg, nil
}

func (s Source) address() string { return fmt.Sprintf("%s:%d", s.Host, s.Port) }

// quote makes a value of a libpq connection string (documentation, 34.1.1.1).
func quote(v string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(v) + "'"
}
