package postgres

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lifeboat-dr/lifeboat/model"
	"github.com/lifeboat-dr/lifeboat/secret"
)

// Settings are those of a database as a whole.
type Settings struct {
	Database            string         `json:"database,omitempty" jsonschema:"description=the database to connect to; markers are kept in it (default: postgres)"`
	User                string         `json:"user" jsonschema:"description=the role to connect as: a superuser or one with the rights listed in docs/drivers/postgres.md"`
	Password            secret.Ref     `json:"password,omitempty" jsonschema:"description=a reference to its password: env:NAME file:PATH or exec:COMMAND"`
	Synchronous         bool           `json:"synchronous,omitempty" jsonschema:"description=no commit is acknowledged before the copy that recovery comes from has it (RPO 0): the standby or with recovery: vault the receiver of the log is kept in synchronous_standby_names"`
	Recovery            Recovery       `json:"recovery,omitempty" jsonschema:"enum=standby,enum=vault,description=where a failover brings the database back from: a streaming standby that is there already or the vault (default: standby)"`
	Quorum              int            `json:"quorum,omitempty" jsonschema:"description=with synchronous and recovery: vault at several sites: how many receivers must have a commit before it is acknowledged (default: 1)"`
	KeepLog             bool           `json:"keep_log,omitempty" jsonschema:"description=a promoted server keeps its log for receivers that are away even where max_slot_wal_keep_size does not bound that; it can fill its disk (default: only where that bounds it)"`
	Seed                Seed           `json:"seed,omitempty" jsonschema:"enum=primary,enum=vault,description=what a standby that must be built anew is made from (default: primary)"`
	MaxRate             Size           `json:"max_rate,omitempty" jsonschema:"description=bytes a second that the capture of a recovery point reads at most (default: no bound)"`
	ReplicationUser     string         `json:"replication_user,omitempty" jsonschema:"description=the role that standbys and base backups connect as (default: user)"`
	ReplicationPassword secret.Ref     `json:"replication_password,omitempty" jsonschema:"description=a reference to its password (default: password)"`
	ConnectTimeout      model.Duration `json:"connect_timeout,omitempty" jsonschema:"description=how long a server may take to answer a connection (default: 2s)"`
	MaxLag              Size           `json:"max_lag,omitempty" jsonschema:"description=a planned move does not start while the standby is further behind than this; it waits for the rest (default: 64MB)"`
	SSLMode             string         `json:"sslmode,omitempty" jsonschema:"description=as in libpq: disable allow prefer require verify-ca or verify-full (default: prefer)"`
	SSLRootCert         string         `json:"sslrootcert,omitempty" jsonschema:"description=a file with the certificates that servers are checked against, at the same path here and on the hosts"`
}

// SiteSettings are those of the copy at one site.
type SiteSettings struct {
	Host   string `json:"host" jsonschema:"description=the address at which clients, the other site and Lifeboat reach the server"`
	Port   int    `json:"port,omitempty" jsonschema:"description=its port (default: 5432)"`
	Data   string `json:"data,omitempty" jsonschema:"description=the data folder on the host. Empty: Lifeboat may not use the host, and can neither fence nor rebuild this copy"`
	Config string `json:"config,omitempty" jsonschema:"description=postgresql.conf, where it is not in the data folder (as on Debian)"`
	Bin    string `json:"bin,omitempty" jsonschema:"description=the folder with pg_ctl and the other programs (default: the usual places)"`
	Work   string `json:"work,omitempty" jsonschema:"description=a folder for Lifeboat's own files on the same file system as the data folder (default: the data folder's name with .lifeboat after it)"`
	Spool  string `json:"spool,omitempty" jsonschema:"description=a folder on the host for received log that is not in the vault yet; every commit is flushed there (default: spool in the work folder)"`

	Lifeboat    string            `json:"lifeboat,omitempty" jsonschema:"description=the lifeboat binary on the host (default: this one on this machine and the one on the PATH elsewhere)"`
	Tablespaces map[string]string `json:"tablespaces,omitempty" jsonschema:"description=where tablespaces are put when the database is restored here: from the folder that one was in to the folder at this site"`
	Via         []string          `json:"via,omitempty" jsonschema:"description=what to put in front of commands to run them on the host as the server's user: [runuser -u postgres --] or [ssh db-east]"`
	Service     *Service          `json:"service,omitempty" jsonschema:"description=how the server is started and stopped where a service manager looks after it (default: pg_ctl)"`
	Fence       *FenceSettings    `json:"fence,omitempty" jsonschema:"description=how to shut this copy out when its host does not answer"`
	Drill       *DrillSettings    `json:"drill,omitempty" jsonschema:"description=where drills put their copy"`
	Options     map[string]string `json:"options,omitempty" jsonschema:"description=server settings that this site needs after a rebuild from the other one's files"`
}

// Service is how a service manager starts and stops the server. The commands run on the host.
type Service struct {
	Start []string `json:"start" jsonschema:"description=starts the server and may return before it answers"`
	Stop  []string `json:"stop" jsonschema:"description=stops the server in order (fast mode)"`
}

// FenceSettings name another way to fence.
type FenceSettings struct {
	Command []string       `json:"command" jsonschema:"description=runs where Lifeboat runs; exit code 0 proves that this copy takes no more writes and will not come back by itself. Must be safe to run twice"`
	Timeout model.Duration `json:"timeout,omitempty" jsonschema:"description=how long it may take (default: 30s)"`
}

// DrillSettings say where drills put their copy.
type DrillSettings struct {
	Folder string `json:"folder" jsonschema:"description=a folder on the host with room for a copy of the database"`
	Host   string `json:"host,omitempty" jsonschema:"description=the address that the copy listens on (default: the site's host)"`
	Port   int    `json:"port,omitempty" jsonschema:"description=its port (default: a free one from 20000 on)"`
}

// Recovery is where a failover brings a database back from.
type Recovery string

// The ways of recovery.
const (
	FromStandby Recovery = "standby"
	FromVault   Recovery = "vault"
)

// Seed is what a standby is built from.
type Seed string

// The seeds.
const (
	SeedPrimary Seed = "primary"
	SeedVault   Seed = "vault"
)

// Defaults of settings that are not set.
const (
	defaultDatabase       = "postgres"
	defaultPort           = 5432
	defaultConnectTimeout = 2 * time.Second
	defaultMaxLag         = Size(64 << 20)
	defaultFenceTimeout   = 30 * time.Second
)

// Size is a number of bytes, written as "64MB".
type Size int64

var sizeUnits = []struct {
	name string
	size int64
}{{"TB", 1 << 40}, {"GB", 1 << 30}, {"MB", 1 << 20}, {"kB", 1 << 10}, {"B", 1}}

// MarshalText writes it in PostgreSQL's units: B, kB, MB, GB, TB, each 1024 times the one before.
func (s Size) MarshalText() ([]byte, error) {
	for _, u := range sizeUnits {
		if int64(s)%u.size == 0 && int64(s) >= u.size {
			return []byte(strconv.FormatInt(int64(s)/u.size, 10) + u.name), nil
		}
	}
	return []byte(strconv.FormatInt(int64(s), 10) + "B"), nil
}

// UnmarshalText reads what MarshalText writes.
func (s *Size) UnmarshalText(text []byte) error {
	for _, u := range sizeUnits {
		number, found := strings.CutSuffix(string(text), u.name)
		if !found {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(number), 10, 64)
		if err != nil || n < 0 || n > (1<<62)/u.size {
			break
		}
		*s = Size(n * u.size)
		return nil
	}
	return fmt.Errorf("%q is not a size such as 64MB or 1GB", text)
}

var sslModes = []string{"", "disable", "allow", "prefer", "require", "verify-ca", "verify-full"}

// Validate has the rules beyond the types. Messages name the field.
func (s Settings) Validate() error {
	switch {
	case s.User == "":
		return fmt.Errorf("user: is missing")
	case !slices.Contains(sslModes, s.SSLMode):
		return fmt.Errorf("sslmode: %q is not one of %s", s.SSLMode, strings.Join(sslModes[1:], ", "))
	case strings.HasPrefix(s.SSLMode, "verify-") && s.SSLRootCert == "":
		return fmt.Errorf("sslrootcert: is missing, and sslmode %s needs it", s.SSLMode)
	case s.ReplicationPassword != "" && s.ReplicationUser == "":
		return fmt.Errorf("replication_user: is missing, but replication_password is set")
	case s.Recovery != "" && s.Recovery != FromStandby && s.Recovery != FromVault:
		return fmt.Errorf("recovery: %q is neither standby nor vault", s.Recovery)
	case s.Seed != "" && s.Seed != SeedPrimary && s.Seed != SeedVault:
		return fmt.Errorf("seed: %q is neither primary nor vault", s.Seed)
	case s.Quorum < 0:
		return fmt.Errorf("quorum: %d is no number of receivers", s.Quorum)
	case s.Quorum > 0 && (!s.Synchronous || s.Recovery != FromVault):
		return fmt.Errorf("quorum: counts receivers that commits wait for: it needs synchronous: true and recovery: vault")
	}
	for field, text := range map[string]string{"database": s.Database, "user": s.User, "replication_user": s.ReplicationUser} {
		if strings.ContainsAny(text, "\n\r\x00") {
			return fmt.Errorf("%s: holds a line break", field)
		}
	}
	return nil
}

var optionName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.]*$`)

// Validate has the rules beyond the types. Messages name the field.
func (s SiteSettings) Validate() error {
	switch {
	case s.Host == "":
		return fmt.Errorf("host: is missing")
	case strings.ContainsAny(s.Host, "/ ,\n"):
		return fmt.Errorf("host: %q is not a host name or an address", s.Host)
	case s.Port < 0 || s.Port > 65535:
		return fmt.Errorf("port: %d is not a port", s.Port)
	case s.Data == "" && (s.Service != nil || len(s.Via) > 0 || s.Work != "" || s.Config != ""):
		return fmt.Errorf("data: is missing, but settings of the host (via, service, work, config) are there")
	}
	for field, p := range map[string]string{"data": s.Data, "config": s.Config, "bin": s.Bin, "work": s.Work, "spool": s.Spool} {
		if err := absolute(field, p); err != nil {
			return err
		}
	}
	if s.Spool != "" && s.Data != "" && (s.Spool == s.Data || strings.HasPrefix(s.Spool, s.Data+"/")) {
		return fmt.Errorf("spool: must not be inside the data folder")
	}
	for from, to := range s.Tablespaces {
		if absolute("", from) != nil || absolute("", to) != nil || from == "" || to == "" {
			return fmt.Errorf("tablespaces: %q: %q are not two absolute paths", from, to)
		}
	}
	if s.Data != "" && path.Clean(s.Data) == "/" {
		return fmt.Errorf("data: the root folder is no data folder")
	}
	if s.Work != "" && (s.Work == s.Data || strings.HasPrefix(s.Work, s.Data+"/")) {
		return fmt.Errorf("work: must not be inside the data folder")
	}
	if s.Service != nil && (len(s.Service.Start) == 0 || len(s.Service.Stop) == 0) {
		return fmt.Errorf("service: needs both start and stop")
	}
	if s.Fence != nil && len(s.Fence.Command) == 0 {
		return fmt.Errorf("fence.command: is missing")
	}
	for name := range s.Options {
		if !optionName.MatchString(name) {
			return fmt.Errorf("options: %q is not the name of a server setting", name)
		}
	}
	return s.validateDrill()
}

func (s SiteSettings) validateDrill() error {
	if s.Drill == nil {
		return nil
	}
	switch {
	case s.Drill.Folder == "":
		return fmt.Errorf("drill.folder: is missing")
	case s.Data == "":
		return fmt.Errorf("data: is missing, and a drill needs the host")
	case s.Drill.Port < 0 || s.Drill.Port > 65535:
		return fmt.Errorf("drill.port: %d is not a port", s.Drill.Port)
	case s.Drill.Folder == s.Data || strings.HasPrefix(s.Drill.Folder, s.Data+"/"):
		return fmt.Errorf("drill.folder: must not be inside the data folder")
	}
	return absolute("drill.folder", s.Drill.Folder)
}

func absolute(field, p string) error {
	switch {
	case p == "":
	case !strings.HasPrefix(p, "/"):
		return fmt.Errorf("%s: %q is not an absolute path", field, p)
	case strings.ContainsAny(p, "\n\r\x00"):
		return fmt.Errorf("%s: holds a line break", field)
	}
	return nil
}
