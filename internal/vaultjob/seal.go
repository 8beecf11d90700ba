package vaultjob

import (
	"context"
	"os"
	"strconv"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
	"github.com/lifeboat-dr/lifeboat/secret"
)

// Sealed is a vault fit to be sent to a host, with the secrets that its references name. It belongs where only the
// user of the program that reads it can look.
type Sealed struct {
	Vault   model.Vault       `json:"vault"`
	Secrets map[string]string `json:"secrets"`
}

// secretName is the variable that stands for the n-th secret of a request.
func secretName(n int) string { return "LIFEBOAT_JOB_SECRET_" + strconv.Itoa(n) }

// Seal resolves the references of a vault and its replicas here, so that the host need not know them. Errors: those of
// package secret.
func Seal(ctx context.Context, v model.Vault) (Sealed, error) {
	s := Sealed{Secrets: map[string]string{}}
	var err error
	s.Vault, err = s.seal(ctx, v)
	return s, err
}

func (s *Sealed) seal(ctx context.Context, v model.Vault) (model.Vault, error) {
	fields := []*string{&v.Password, &v.UserPassword}
	if v.S3 != nil {
		own := *v.S3
		v.S3 = &own
		fields = append(fields, &own.AccessKey, &own.SecretKey, &own.SessionToken)
	}
	for _, f := range fields {
		ref, err := s.Add(ctx, secret.Ref(*f))
		if err != nil {
			return v, err
		}
		*f = string(ref)
	}
	replicas := v.Replicas
	v.Replicas = nil
	for _, r := range replicas {
		sealed, err := s.seal(ctx, r)
		if err != nil {
			return v, failure.Wrap(err, "use the replica", r.Name)
		}
		v.Replicas = append(v.Replicas, sealed)
	}
	return v, nil
}

// Add resolves one more secret, and gives the reference to it that holds where it is opened. An empty one stays empty.
func (s *Sealed) Add(ctx context.Context, ref secret.Ref) (secret.Ref, error) {
	if ref == "" {
		return "", nil
	}
	value, err := ref.Resolve(ctx)
	if err != nil {
		return "", err
	}
	if s.Secrets == nil {
		s.Secrets = map[string]string{}
	}
	name := secretName(len(s.Secrets))
	s.Secrets[name] = value.Reveal()
	return secret.Ref("env:" + name), nil
}

// Open makes the secrets readable within this process, where nobody else sees them: the environment that a process
// was started with is public, what it sets later is not.
func (s *Sealed) Open() error {
	for name, value := range s.Secrets {
		if err := os.Setenv(name, value); err != nil {
			return failure.WrapAs(failure.Internal, err, "set", name)
		}
	}
	s.Secrets = nil
	return nil
}
