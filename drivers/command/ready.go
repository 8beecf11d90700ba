package command

import (
	"context"
	"strings"
	"time"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/hostexec"
	"github.com/lifeboat-dr/lifeboat/internal/hostproc"
	"github.com/lifeboat-dr/lifeboat/internal/probe"
	"github.com/lifeboat-dr/lifeboat/model"
)

// probeTimeout bounds one probe.
const probeTimeout = 5 * time.Second

// probing is the host's side of a probe command: the environment comes in by standard input, so that no secret stands
// in a command line.
const probing = `eval "$(cat)"
if [ -n "$1" ]; then cd "$1" || exit 126; fi
shift
exec "$@" </dev/null`

// serves asks all probes that there are. ok is true when each of them passes; detail says what was seen. An error
// means that nothing was learnt.
func (p *program) serves(ctx context.Context) (ok bool, detail string, err error) {
	var seen []string
	for _, ask := range []func(context.Context) (driver.Answer, bool, error){p.probeCommand, p.probeHTTP, p.probeTCP} {
		a, there, err := ask(ctx)
		if err != nil {
			return false, "", err
		}
		if !there {
			continue
		}
		if !a.OK {
			return false, a.Detail, nil
		}
		seen = append(seen, a.Detail)
	}
	return true, strings.Join(seen, "; "), nil
}

func (p *program) probeHTTP(ctx context.Context) (driver.Answer, bool, error) {
	if p.ProbeHTTP == "" {
		return driver.Answer{}, false, nil
	}
	a, err := (&probe.HTTP{URL: p.ProbeHTTP, Timeout: model.Duration(probeTimeout)}).Ask(ctx)
	return a, true, err
}

func (p *program) probeTCP(ctx context.Context) (driver.Answer, bool, error) {
	if p.ProbeTCP == "" {
		return driver.Answer{}, false, nil
	}
	a, err := (&probe.TCP{Address: p.ProbeTCP, Timeout: model.Duration(probeTimeout)}).Ask(ctx)
	return a, true, err
}

func (p *program) probeCommand(ctx context.Context) (driver.Answer, bool, error) {
	if len(p.Probe) == 0 {
		return driver.Answer{}, false, nil
	}
	env, err := p.environment(ctx)
	if err != nil {
		return driver.Answer{}, true, err
	}
	bounded, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	res, err := p.host().ScriptIn(bounded, strings.NewReader(hostproc.Exports(env)), probing, append([]string{p.Dir}, p.Probe...)...)
	switch {
	case err != nil && ctx.Err() != nil:
		return driver.Answer{}, true, failure.Wrap(ctx.Err(), "probe", p.Probe[0])
	case err != nil && bounded.Err() != nil:
		return driver.Answer{Detail: "the probe does not end within " + probeTimeout.String()}, true, nil
	case err != nil:
		return driver.Answer{}, true, err
	case res.Code == 0:
		return driver.Answer{OK: true, Detail: "the probe passes"}, true, nil
	case res.Code == 127 || res.Code == 126:
		return driver.Answer{}, true, res.Err(failure.NotFound, "probe", hostexec.Join(p.Probe))
	}
	return driver.Answer{Detail: "the probe fails: " + res.Err(failure.Unavailable, "", "").Error()}, true, nil
}
