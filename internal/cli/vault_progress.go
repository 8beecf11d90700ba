package cli

import (
	"strconv"
	"time"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/internal/term"
)

// watch shows progress on standard error while a call goes on: in place on a terminal, a line now and then elsewhere. End
// is called when the call has returned. With -q there is nothing but problems.
func (v *vaultCommand) watch() (watch api.VaultWatch, end func()) {
	opts := term.WatchStyle(v.Err, v.Getenv)
	opts.Style = v.style(v.Err)
	opts.Now = v.Now
	if every := v.frameTime(); every > 0 {
		opts.Every, opts.Still = every, every
	}
	shown := term.NewVaultProgress(v.Err, v.verbose > 0, opts)
	if v.flags.quiet {
		return func(e api.VaultEvent) {
			if e.Problem != nil {
				shown.Event(e)
			}
		}, shown.Close
	}
	shown.Event(api.VaultEvent{Phase: "opening the vault"})
	return shown.Event, shown.Close
}

// frameTime is how long between two frames: RESTIC_PROGRESS_FPS says how many there are in a second, at most 60.
func (v *vaultCommand) frameTime() time.Duration {
	fps, err := strconv.ParseFloat(v.Getenv("RESTIC_PROGRESS_FPS"), 64)
	if err != nil || !(fps > 0) {
		return 0
	}
	return time.Duration(float64(time.Second) / min(fps, 60))
}
