// Package shop is the application that the demo moves between sites: an HTTP program that keeps orders in PostgreSQL and
// uploaded files in a folder.
//
// It acknowledges an order only after the database has committed it, and after the synchronous standby has it where
// there is one. It holds no state of its own, connects lazily, and rather answers "unavailable" at once than late, so
// that it can be started, stopped and killed at any moment.
//
// Start with [New] and [Server.Run]. The table it needs is [Schema].
package shop

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"regexp"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/secret"
)

// Schema makes the shop's tables. The role that the shop connects as needs select, insert and update on orders and pulse.
const Schema = `
create table orders (
	id       text primary key,
	placed   timestamptz not null default clock_timestamp(),
	attempts integer not null default 1
);
create table pulse (one boolean primary key default true check (one), at timestamptz not null);
create table prices (article integer primary key, cents integer not null);
insert into prices select n, 100 + 7 * n from generate_series(1, 1000) n;`

// How long the shop waits. A database that moves is better refused quickly and asked again.
const (
	connectTimeout = time.Second
	requestTimeout = 2 * time.Second
	drainTimeout   = 5 * time.Second
)

// Config says where the shop listens and where its database is.
type Config struct {
	Listen   string // host:port
	Database string // host:port of PostgreSQL
	Name     string // of the database
	User     string
	Password secret.Ref
	Uploads  string // the folder of uploads; empty: none are taken
	Log      *slog.Logger
}

// Server is one shop.
type Server struct {
	listen  string
	uploads string
	pool    *pgxpool.Pool
	log     *slog.Logger
}

// New prepares a shop. It does not connect. The caller owns the server and ends it with Run or Close.
func New(ctx context.Context, cfg Config) (*Server, error) {
	host, port, err := net.SplitHostPort(cfg.Database)
	if err != nil {
		return nil, failure.WrapAs(failure.Invalid, err, "read database address", cfg.Database).WithHint("write host:port")
	}
	password, err := cfg.Password.Resolve(ctx)
	if err != nil {
		return nil, err
	}
	pool, err := pgxpool.ParseConfig("sslmode=disable application_name=shop pool_max_conns=16 host=" + host + " port=" + port)
	if err != nil {
		return nil, failure.WrapAs(failure.Invalid, err, "read database address", cfg.Database)
	}
	pool.ConnConfig.Database, pool.ConnConfig.User, pool.ConnConfig.Password = cfg.Name, cfg.User, password.Reveal()
	pool.ConnConfig.ConnectTimeout = connectTimeout
	pool.ConnConfig.OnNotice = noteDoubt
	pool.MinConns, pool.MaxConnLifetime = 0, time.Hour
	p, err := pgxpool.NewWithConfig(ctx, pool)
	if err != nil {
		return nil, failure.WrapAs(failure.Invalid, err, "read database address", cfg.Database)
	}
	log := cfg.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Server{listen: cfg.Listen, uploads: cfg.Uploads, pool: p, log: log}, nil
}

// doubt is where a connection remembers that the server warned.
const doubt = "doubt"

// noteDoubt remembers a warning. "The transaction has already committed locally, but might not have been replicated to
// the standby" comes with a success, when somebody cancels the wait for the standby.
func noteDoubt(c *pgconn.PgConn, n *pgconn.Notice) {
	if n.SeverityUnlocalized == "WARNING" {
		c.CustomData()[doubt] = n.Message
	}
}

// write runs a statement that changes something and returns once it is as safe as the database makes it. What was
// stored under a warning is not safe, whatever the server's answer was.
func (s *Server) write(ctx context.Context, sql string, args []any, into ...any) error {
	return s.pool.AcquireFunc(ctx, func(c *pgxpool.Conn) error {
		if err := c.QueryRow(ctx, sql, args...).Scan(into...); err != nil {
			return err
		}
		if warning, ok := c.Conn().PgConn().CustomData()[doubt]; ok {
			return errors.Join(failure.New(failure.Indeterminate, "store", "", "%v", warning), c.Conn().Close(ctx))
		}
		return nil
	})
}

// Close gives up the database connections.
func (s *Server) Close() { s.pool.Close() }

// Run listens and serves until ctx ends, then finishes the requests in flight and closes. It returns nil when it was
// asked to stop.
func (s *Server) Run(ctx context.Context) error {
	defer s.Close()
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", s.listen)
	if err != nil {
		return failure.WrapAs(failure.Unavailable, err, "listen", s.listen)
	}
	server := &http.Server{Handler: s.Handler(), ReadHeaderTimeout: requestTimeout}
	stopped := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
		defer cancel()
		stopped <- server.Shutdown(drain)
	})
	s.log.Info("the shop is open", "address", listener.Addr())
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		stop()
		return failure.WrapAs(failure.Unavailable, err, "serve", s.listen)
	}
	err = <-stopped
	s.log.Info("the shop is closed", "error", err)
	return err
}

// Handler gives the shop's requests: POST /orders {"id": …} answers 201 once the order is safe; GET /orders/ID
// answers 200 or 404; GET /healthz answers 200 when the database takes writes. Whatever the database refuses is 503.
// PUT /uploads/NAME answers 201 once the file is on the disk; GET /uploads/NAME gives it back.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /orders", s.place)
	mux.HandleFunc("GET /orders/{id}", s.look)
	mux.HandleFunc("GET /healthz", s.health)
	mux.HandleFunc("PUT /uploads/{name}", s.upload)
	mux.HandleFunc("GET /uploads/{name}", s.download)
	return mux
}

var orderID = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// order is what a client sends and gets back. Attempts counts how often the order arrived.
type order struct {
	ID       string `json:"id"`
	Attempts int    `json:"attempts,omitempty"`
}

// place stores an order. The same order may be sent again: its client may not have heard the answer. The second
// arrival writes too, on purpose. The first one's commit may have been cut off between the disk here and the standby;
// only a later write that has reached the standby proves that the first is there as well.
func (s *Server) place(w http.ResponseWriter, r *http.Request) {
	var o order
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<12)).Decode(&o); err != nil || !orderID.MatchString(o.ID) {
		http.Error(w, `send {"id": "…"} of at most 64 letters, digits, dots, dashes and underscores`, http.StatusBadRequest)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), requestTimeout)
	defer cancel()
	const store = `insert into orders (id) values ($1)
		on conflict (id) do update set attempts = orders.attempts + 1 returning attempts`
	if err := s.write(ctx, store, []any{o.ID}, &o.Attempts); err != nil {
		s.unavailable(w, "order not stored", err)
		return
	}
	reply(w, http.StatusCreated, o)
}

func (s *Server) look(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), requestTimeout)
	defer cancel()
	o := order{ID: r.PathValue("id")}
	err := s.pool.QueryRow(ctx, `select attempts from orders where id = $1`, o.ID).Scan(&o.Attempts)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		http.Error(w, "no such order", http.StatusNotFound)
	case err != nil:
		s.unavailable(w, "order not read", err)
	default:
		reply(w, http.StatusOK, o)
	}
}

// health writes: a database that can be read only is not healthy for a shop.
func (s *Server) health(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), requestTimeout)
	defer cancel()
	const beat = `insert into pulse (at) values (clock_timestamp()) on conflict (one) do update
		set at = excluded.at returning one`
	var one bool
	if err := s.write(ctx, beat, nil, &one); err != nil {
		s.unavailable(w, "not healthy", err)
		return
	}
	reply(w, http.StatusOK, map[string]string{"status": "taking orders"})
}

func (s *Server) unavailable(w http.ResponseWriter, what string, err error) {
	s.log.Warn(what, "error", err)
	http.Error(w, "the database does not take this now", http.StatusServiceUnavailable)
}

func reply(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(body)
}
