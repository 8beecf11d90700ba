// Package s3test starts MinIO servers for tests, with test/servers/minio.sh, on loopback and on a free port. The first
// start on a machine builds MinIO, which takes minutes. It knows nothing of vaults. Start with Start.
package s3test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"time"
)

// Options say what server is wanted.
type Options struct {
	// TLS: it speaks TLS, with a certificate of an authority of its own.
	TLS bool
	// Domain: buckets can be named as BUCKET.Domain, besides in the path. See Server.Dial.
	Domain string
	// Env are further variables for MinIO, as KEY=VALUE.
	Env []string
}

// Server is a running MinIO.
type Server struct {
	Endpoint             string // https://127.0.0.1:port
	AccessKey, SecretKey string // of its owner, who may do everything
	CAFile               string // with TLS: the authority that its certificate is to be verified by
	TLS                  *tls.Config
	Log                  string

	domain  string
	folder  string
	buckets atomic.Int32
}

// Start starts a server and waits until it answers. The caller stops it.
func Start(o Options) (s *Server, err error) {
	folder, err := os.MkdirTemp("", "lifeboat-minio-")
	if err != nil {
		return nil, err
	}
	s = &Server{folder: folder, domain: o.Domain}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Stop())
		}
	}()
	env := o.Env
	if o.Domain != "" {
		env = append(env, "MINIO_DOMAIN="+o.Domain)
	}
	if o.TLS {
		if err := s.certify(); err != nil {
			return nil, err
		}
	}
	cmd := exec.Command(script(), "start", folder)
	cmd.Env = append(os.Environ(), env...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("minio.sh start: %w: %s", err, stderr.String())
	}
	lines := bufio.NewScanner(bytes.NewReader(out))
	for lines.Scan() {
		key, value, _ := strings.Cut(lines.Text(), "=")
		switch key {
		case "ENDPOINT":
			s.Endpoint = value
		case "ACCESS_KEY":
			s.AccessKey = value
		case "SECRET_KEY":
			s.SecretKey = value
		case "LOG":
			s.Log = value
		}
	}
	if s.Endpoint == "" || s.SecretKey == "" {
		return nil, fmt.Errorf("minio.sh start says only: %s", out)
	}
	return s, nil
}

// script is test/servers/minio.sh, found from this file.
func script() string {
	_, here, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(here), "..", "..", "..", "..", "..", "test", "servers", "minio.sh")
}

// Stop ends the server and removes what it stored.
func (s *Server) Stop() error {
	out, err := exec.Command(script(), "stop", s.folder).CombinedOutput()
	if err != nil {
		err = fmt.Errorf("minio.sh stop: %w: %s", err, out)
	}
	return errors.Join(err, os.RemoveAll(s.folder))
}

// Bucket is a name that no bucket of this server has.
func (s *Server) Bucket() string { return fmt.Sprintf("bucket-%d", s.buckets.Add(1)) }

// Host is the endpoint by the domain's name, with which buckets can be named in the host. Only Dial finds it.
func (s *Server) Host() string {
	u, err := url.Parse(s.Endpoint)
	if err != nil {
		return ""
	}
	return u.Scheme + "://" + s.domain + ":" + u.Port()
}

// Dial connects to the server whatever the host is called.
func (s *Server) Dial(ctx context.Context, network, _ string) (net.Conn, error) {
	_, address, _ := strings.Cut(s.Endpoint, "://")
	return (&net.Dialer{}).DialContext(ctx, network, address)
}

// certify makes an authority and a certificate for loopback and the domain.
func (s *Server) certify() error {
	now := time.Now()
	template := func(serial int64, name string) *x509.Certificate {
		return &x509.Certificate{SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour)}
	}
	ca := template(1, "Lifeboat's test authority")
	ca.IsCA, ca.BasicConstraintsValid, ca.KeyUsage = true, true, x509.KeyUsageCertSign
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, &caKey.PublicKey, caKey)
	if err != nil {
		return err
	}
	leaf := template(2, "minio")
	leaf.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
	leaf.DNSNames = []string{"localhost"}
	if s.domain != "" {
		leaf.DNSNames = append(leaf.DNSNames, s.domain, "*."+s.domain)
	}
	leaf.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, ca, &key.PublicKey, caKey)
	if err != nil {
		return err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	certs := filepath.Join(s.folder, "certs")
	s.CAFile = filepath.Join(s.folder, "ca.pem")
	pool := x509.NewCertPool()
	caPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: caDER})
	pool.AppendCertsFromPEM(caPEM)
	s.TLS = &tls.Config{RootCAs: pool}
	return errors.Join(
		os.MkdirAll(certs, 0o700), os.WriteFile(s.CAFile, caPEM, 0o600),
		os.WriteFile(filepath.Join(certs, "public.crt"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600),
		os.WriteFile(filepath.Join(certs, "private.key"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}), 0o600))
}
