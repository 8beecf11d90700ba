package vaultservice

import (
	"context"
	"crypto/tls"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/server"
)

// Serve serves vaults in a folder.
func (s *Service) Serve(ctx context.Context, req api.VaultServeRequest, ready func(api.VaultServing)) error {
	told := api.VaultServing{Folder: req.Folder, AppendOnly: req.AppendOnly, Users: -1}
	o := server.Options{Folder: req.Folder, AppendOnly: req.AppendOnly, Quota: req.Quota, Log: s.opts.Log}
	if !req.NoAuth {
		users, err := server.OpenUsers(usersFile(req.Folder, req.Users), s.opts.Log)
		if err != nil {
			return failure.WrapAs(failure.KindOf(err), err, "serve", req.Folder).
				WithHint("add a user: lifeboat vault serve user add NAME --data %s; or let everybody in: --no-auth", req.Folder)
		}
		list, err := users.List()
		if err != nil {
			return err
		}
		o.Users, told.Users = users, len(list)
	}
	srv, err := server.New(o)
	if err != nil {
		return err
	}
	secure, err := s.certificate(req, &told)
	if err != nil {
		return err
	}
	listener, err := listen(ctx, req.Listen, secure == nil && !req.NoTLS)
	if err != nil {
		return err
	}
	told.Address = listener.Addr().String()
	told.URL = url(listener.Addr(), secure != nil)
	if ready != nil {
		ready(told)
	}
	return srv.Serve(ctx, listener, secure)
}

func usersFile(folder, named string) string {
	return first(named, filepath.Join(folder, server.UsersFile))
}

// certificate gives what the server's TLS takes; nil: there is none.
func (s *Service) certificate(req api.VaultServeRequest, told *api.VaultServing) (*tls.Config, error) {
	cert, key := req.Cert, req.Key
	switch {
	case req.SelfSigned:
		if _, err := os.Stat(req.Folder); err != nil {
			return nil, folderError(err, req.Folder)
		}
		c, err := server.SelfSigned(req.Folder, req.Hosts, s.opts.Now())
		if err != nil {
			return nil, err
		}
		cert, key = c.Cert, c.Key
		told.Certificate, told.Fingerprint, told.Hosts = c.Cert, c.Fingerprint, c.Hosts
	case cert == "":
		return nil, nil
	default:
		told.Certificate = cert
	}
	return server.TLS(cert, first(key, cert), s.opts.Log)
}

func folderError(err error, folder string) error {
	if errors.Is(err, fs.ErrNotExist) {
		return failure.New(failure.NotFound, "serve", folder, "there is no such folder").WithHint("make it: mkdir -p %s", folder)
	}
	return failure.WrapAs(failure.Denied, err, "serve", folder)
}

// listen opens the address. Without TLS only this machine is let in when private.
func listen(ctx context.Context, address string, private bool) (net.Listener, error) {
	network := "tcp"
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		network, address = "unix", path
	}
	if network == "tcp" && private {
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			return nil, failure.WrapAs(failure.Invalid, err, "listen", address).WithHint("write --listen HOST:PORT or --listen unix:/path")
		}
		if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
			return nil, failure.New(failure.Invalid, "listen", address, "without TLS passwords would go over the network as they are").
				WithHint("write --tls-cert and --tls-key, or --tls-self-signed; --no-tls when something in front does it")
		}
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, network, address)
	if err != nil {
		return nil, failure.WrapAs(failure.Unavailable, err, "listen", address).WithHint("choose an address of this machine and a port that is free")
	}
	return l, nil
}

// url is how the server is reached with -r.
func url(a net.Addr, secure bool) string {
	if a.Network() == "unix" {
		return "rest:http+unix://" + a.String() + ":/"
	}
	if secure {
		return "rest:https://" + a.String() + "/"
	}
	return "rest:http://" + a.String() + "/"
}

// Users lists who may use a server.
func (s *Service) Users(_ context.Context, req api.VaultUserRequest) ([]api.VaultUser, error) {
	users, err := server.OpenUsers(usersFile(req.Folder, req.Users), s.opts.Log)
	if err != nil {
		return nil, err
	}
	all, err := users.List()
	list := []api.VaultUser{}
	for _, u := range all {
		list = append(list, api.VaultUser(u))
	}
	return list, err
}

// SetUser adds a user, or changes his password and his rights.
func (s *Service) SetUser(_ context.Context, req api.VaultUserRequest) error {
	if req.Password == nil {
		return failure.New(failure.Invalid, "add the user", req.Name, "no password is given")
	}
	if req.Users == "" {
		if _, err := os.Stat(req.Folder); err != nil {
			return folderError(err, req.Folder)
		}
	}
	return server.SetUser(usersFile(req.Folder, req.Users), server.User(req.VaultUser), string(*req.Password))
}

// RemoveUser takes a user out.
func (s *Service) RemoveUser(_ context.Context, req api.VaultUserRequest) error {
	return server.RemoveUser(usersFile(req.Folder, req.Users), req.Name)
}
