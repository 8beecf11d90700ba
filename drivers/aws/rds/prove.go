package rds

import (
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/rds"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awsbase"
	"github.com/lifeboat-dr/lifeboat/failure"
)

// removed deletes an instance that a step made to be looked at, and reports whether it is gone.
func (w *work) removed(ctx context.Context, name, token string) (bool, string, error) {
	i, err := w.here.instance(ctx, name)
	if err != nil || i == nil {
		return err == nil, "", err
	}
	switch {
	case i.tags[awsbase.TagToken] != token:
		return true, "", nil // somebody else's
	case i.status() == "deleting":
		return false, "instance " + name + " is being deleted", nil
	}
	_, err = w.here.api.DeleteDBInstance(ctx, &sdk.DeleteDBInstanceInput{DBInstanceIdentifier: &name, SkipFinalSnapshot: aws.Bool(true), DeleteAutomatedBackups: aws.Bool(true)})
	if failure.Classified(err) && failure.KindOf(err) == failure.NotFound {
		return true, "", nil
	}
	return false, "the deletion of instance " + name + " is begun", err
}

// release deletes what a drill or a proof made, by the token of its step.
func (w *work) release(ctx context.Context) (driver.Observation, error) {
	if w.req.Released == nil {
		return driver.Observation{}, failure.New(failure.Invalid, "", w.subject(), "nothing says what is released")
	}
	token := w.req.Released.Token
	for _, what := range []string{"drill", "prove"} {
		name := awsbase.NameFor(what+"-"+w.here.set.Instance, token, 63)
		gone, phase, err := w.removed(ctx, name, token)
		if err != nil {
			return driver.Observation{}, err
		}
		if !gone {
			return waiting("%s", phase), nil
		}
	}
	return done(fact("released", "nothing is left of it in %s", w.here.s.Region())), nil
}

// decideProve checks what is asked for.
func (w *work) decideProve(ctx context.Context) (string, error) {
	spec := w.req.Prove
	switch {
	case spec == nil || spec.Point == "" && !spec.Bisect:
		return "", failure.New(failure.Invalid, "", w.subject(), "nothing says which snapshot is proved")
	case spec.Bisect || len(spec.Checks) > 0:
		return "", failure.New(failure.Unsupported, "", w.subject(), "checks inside of a database cannot be asked by %s", Kind).
			WithHint("drill the app: its sql checks are asked of the copy")
	}
	if _, err := w.drillSite(); err != nil {
		return "", err
	}
	return w.pointNamed(ctx, spec.Point)
}

// prove restores a snapshot apart, writes down what came of it, and removes the instance.
func (w *work) prove(ctx context.Context, h handle) (driver.Observation, error) {
	s, err := w.here.snapshot(ctx, h.Point)
	if err != nil {
		return driver.Observation{}, err
	}
	if s == nil {
		return failed(failure.New(failure.NotFound, "prove", h.Point, "the snapshot is gone").WithHint("prove another one")), nil
	}
	return w.proveIn(ctx, s, h.Name)
}

// proveIn is one step of a proof of s under a name that the step's token decides.
func (w *work) proveIn(ctx context.Context, s *snapshot, name string) (driver.Observation, error) {
	if s.tags[tagProvedToken] == w.req.Token {
		return w.proved(ctx, s, name)
	}
	set, err := w.drillSite()
	if err != nil {
		return driver.Observation{}, err
	}
	seen, err := w.bringUp(ctx, launch{name: name, from: s.id(), set: set, drill: true})
	if err != nil || seen.State == driver.Pending {
		return seen, err
	}
	i, err := w.here.instance(ctx, name)
	if err != nil {
		return driver.Observation{}, err
	}
	if i == nil || seen.State == driver.Failed && i.status() != "failed" && i.status() != "incompatible-restore" {
		return seen, nil // that says nothing about the snapshot
	}
	proof := map[string]string{tagProvedAt: time.Now().UTC().Format(time.RFC3339), tagProvedBy: string(w.req.Run), tagProvedOK: "true", tagProvedToken: w.req.Token, tagProvedWhat: ""}
	if began, err := time.Parse(time.RFC3339, i.tags[tagBegan]); err == nil {
		proof[tagProvedTook] = time.Now().Sub(began).Round(time.Second).String()
	}
	if seen.State == driver.Failed {
		proof[tagProvedOK], proof[tagProvedWhat] = "false", "its restore ended as "+i.status()
	}
	if err := w.here.tag(ctx, s.arn(), proof); err != nil {
		return driver.Observation{}, err
	}
	return waiting("what came of snapshot %s is written down; instance %s is removed", s.id(), name), nil
}

// proved removes the instance of a proof that is written down, and says what it was.
func (w *work) proved(ctx context.Context, s *snapshot, name string) (driver.Observation, error) {
	gone, phase, err := w.removed(ctx, name, w.req.Token)
	if err != nil {
		return driver.Observation{}, err
	}
	if !gone {
		return waiting("%s", phase), nil
	}
	p := s.proof(w.here.id)
	if p == nil || !p.OK {
		return failed(failure.New(failure.Corrupt, "prove", s.id(), "%s", s.tags[tagProvedWhat]).WithHint("make another point, and prove that: lifeboat protect %s", w.req.App)), nil
	}
	return done(fact("proved", "snapshot %s was restored, and its instance came up", s.id()), fact("at", "%s", p.At.Format(time.RFC3339))), nil
}
