//go:build !(linux || darwin || freebsd)

package mount

import (
	"context"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault"
)

// Run is Unsupported on this system.
func Run(context.Context, *vault.Vault, string, Options) error {
	return failure.New(failure.Unsupported, "mount", "", "this system has no FUSE").WithHint("use: lifeboat vault restore, or dump")
}
