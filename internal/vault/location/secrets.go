package location

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"os"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
	"github.com/lifeboat-dr/lifeboat/secret"
)

// Password gives the password of a vault: what its reference resolves to, or what o.AskPassword answers. Invalid: there
// is neither, or it is empty.
func Password(ctx context.Context, v model.Vault, o Options) (string, error) {
	if v.Password == "" && o.AskPassword != nil {
		return o.AskPassword(ctx, Redact(v.URL))
	}
	password, err := resolve(ctx, v.Password)
	if err != nil {
		return "", failure.Wrap(err, "read the vault's password", Redact(v.URL))
	}
	if password == "" {
		return "", failure.New(failure.Invalid, "read the vault's password", Redact(v.URL), "there is none").
			WithHint("name it: password: env:NAME or file:/path in lifeboat.yaml, --password-file, or RESTIC_PASSWORD")
	}
	return password, nil
}

// resolve reads a reference; an empty one is no secret.
func resolve(ctx context.Context, text string) (string, error) {
	var ref secret.Ref
	if err := ref.UnmarshalText([]byte(text)); err != nil {
		return "", err
	}
	value, err := ref.Resolve(ctx)
	return value.Reveal(), err
}

// restUser gives the name and the password for a REST server: those of the configuration, else those of the URL.
func restUser(ctx context.Context, l Location, v model.Vault) (name, password string, err error) {
	if v.User != "" || v.UserPassword != "" {
		password, err = resolve(ctx, v.UserPassword)
		return v.User, password, failure.Wrap(err, "read the password of "+v.User, l.String())
	}
	if name, there := l.User(); there {
		if l.user.password != nil {
			password = *l.user.password
		}
		return name, password, nil
	}
	return "", "", nil
}

// tlsConfig is nil when the vault asks for nothing special.
func tlsConfig(v model.Vault) (*tls.Config, error) {
	if v.CA == "" && v.Cert == "" && v.Key == "" {
		return nil, nil
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if v.CA != "" {
		text, err := os.ReadFile(v.CA)
		if err != nil {
			return nil, failure.WrapAs(failure.Invalid, err, "read the certificates to trust", v.CA)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(text) {
			return nil, failure.New(failure.Invalid, "read the certificates to trust", v.CA, "there is no certificate in PEM in it")
		}
	}
	if v.Cert == "" && v.Key == "" {
		return c, nil
	}
	key := v.Key
	if key == "" {
		key = v.Cert // both in one file, as restic's --tls-client-cert
	}
	pair, err := tls.LoadX509KeyPair(v.Cert, key)
	if err != nil {
		return nil, failure.WrapAs(failure.Invalid, err, "read the client's certificate", v.Cert).
			WithHint("both the certificate and its key are needed, in PEM; the key may be in the same file")
	}
	c.Certificates = []tls.Certificate{pair}
	return c, nil
}

// FromEnvironment fills what a vault that was named on the command line leaves open, from restic's variables:
// RESTIC_REPOSITORY, RESTIC_REPOSITORY_FILE, RESTIC_PASSWORD_COMMAND, RESTIC_PASSWORD_FILE, RESTIC_PASSWORD,
// RESTIC_REST_USERNAME, RESTIC_REST_PASSWORD, RESTIC_CACERT (one file), RESTIC_TLS_CLIENT_CERT, RESTIC_CACHE_DIR.
// Passwords become references. Variables of AWS are read by its own credential chain.
func FromEnvironment(v model.Vault, getenv func(string) string) (model.Vault, error) {
	if v.URL == "" {
		file := getenv("RESTIC_REPOSITORY_FILE")
		v.URL = getenv("RESTIC_REPOSITORY")
		if v.URL != "" && file != "" {
			return v, failure.New(failure.Invalid, "find the vault", "", "both RESTIC_REPOSITORY and RESTIC_REPOSITORY_FILE are set")
		}
		if file != "" {
			text, err := os.ReadFile(file)
			if err != nil {
				return v, failure.WrapAs(failure.Invalid, err, "find the vault", "RESTIC_REPOSITORY_FILE")
			}
			v.URL = string(bytes.TrimSpace(text))
		}
	}
	if v.Password == "" {
		command, file := getenv("RESTIC_PASSWORD_COMMAND"), getenv("RESTIC_PASSWORD_FILE")
		switch {
		case command != "" && file != "":
			return v, failure.New(failure.Invalid, "find the vault's password", "", "both RESTIC_PASSWORD_COMMAND and RESTIC_PASSWORD_FILE are set")
		case command != "":
			v.Password = "exec:" + command
		case file != "":
			v.Password = "file:" + file
		case getenv("RESTIC_PASSWORD") != "":
			v.Password = "env:RESTIC_PASSWORD"
		}
	}
	if l, err := Parse(v.URL); err == nil && l.Scheme == Rest && v.User == "" && v.UserPassword == "" {
		if _, there := l.User(); !there && getenv("RESTIC_REST_USERNAME") != "" {
			v.User = getenv("RESTIC_REST_USERNAME")
			if getenv("RESTIC_REST_PASSWORD") != "" {
				v.UserPassword = "env:RESTIC_REST_PASSWORD"
			}
		}
	}
	for field, name := range map[*string]string{&v.CA: "RESTIC_CACERT", &v.Cert: "RESTIC_TLS_CLIENT_CERT", &v.Cache: "RESTIC_CACHE_DIR"} {
		if *field == "" {
			*field = getenv(name)
		}
	}
	return v, nil
}
