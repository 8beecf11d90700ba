package drivertest

import (
	"context"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// cancel ends work that would go on.
func (s *suite) cancel(t tee, req driver.Request) {
	h := s.begin(t, s.New(), req)
	s.handle(t, &h)
	seen, err := s.observe(t, s.New(), req, h)
	if err != nil || seen.State != driver.Pending {
		t.Fatalf("the slow %s is %s %v before it is cancelled, want pending: see Config.Actions", req.Action, seen.State, err)
	}
	for range 2 {
		if err := s.canceled(t, req, h); err != nil {
			s.judge(t, "cancel", err)
			t.Fatalf("cancel %s: %v", req.Action, err)
		}
	}
	// Cancel returned without an error: the work is over now, and not later.
	seen, err = s.observe(t, s.New(), req, h)
	if err == nil && seen.State == driver.Pending {
		t.Errorf("%s goes on after it was cancelled: %s", req.Action, seen.Phase)
	}
	s.cleanUp(t, req)
}

// cancelOver cancels what is done, which changes nothing.
func (s *suite) cancelOver(t tee, req driver.Request, h driver.Handle, done driver.Observation) {
	if !s.can(Cancel) {
		return
	}
	if err := s.canceled(t, req, h); err != nil {
		s.judge(t, "cancel", err)
		t.Errorf("cancel %s when it is over: %v", req.Action, err)
	}
	if again := s.await(t, req, h); again.State != done.State {
		t.Errorf("cancelled when it was over, %s is %s, want %s", req.Action, again.State, done.State)
	}
}

func (s *suite) canceled(t tee, req driver.Request, h driver.Handle) error {
	t.Helper()
	c, _ := driver.As[driver.Canceler](s.New())
	_, err := call(t, "cancel", func(ctx context.Context) (struct{}, error) { return struct{}{}, c.Cancel(ctx, req, h) })
	return err
}

// release removes what drills made. That of a drill which ended well is tried in work.
func (s *suite) release(t tee) {
	try := s.Actions[model.ActionDrill].Request
	if try == nil {
		return
	}
	t.sub("by token alone", func(t tee) {
		drill := fresh(try(t), model.ActionDrill)
		s.begin(t, s.New(), drill) // and its answer is lost
		s.released(t, drill, driver.Released{})
		s.left(t, drill)
	})
	t.sub("of what never began", func(t tee) {
		drill := fresh(try(t), model.ActionDrill)
		s.unchanged(t, "releasing what never began", func() { s.left(t, drill) })
		s.released(t, drill, driver.Released{})
		s.left(t, drill)
	})
	t.sub("only its own", func(t tee) {
		if s.Left == nil {
			return
		}
		mine, other := fresh(try(t), model.ActionDrill), fresh(try(t), model.ActionDrill)
		s.await(t, mine, s.begin(t, s.New(), mine))
		if len(s.Left(t, mine.Token)) == 0 {
			t.Errorf("a drill that is done has made nothing, says Config.Left")
		}
		s.released(t, other, driver.Released{})
		if len(s.Left(t, mine.Token)) == 0 {
			t.Errorf("the release of another drill has removed what this one made")
		}
		s.cleanUp(t, mine)
	})
	t.sub("refuses", func(t tee) {
		req := fresh(try(t), model.ActionRelease)
		_, err := call(t, "release", func(ctx context.Context) (driver.Handle, error) { return driver.Begin(ctx, s.New(), req) })
		s.refuses(t, "a release that does not say of what", err, failure.Invalid)
		s.bad(t, undo(req, driver.Released{Step: req.Step, Token: newToken()}))
	})
}

// undo makes the request of a release.
func undo(drill driver.Request, what driver.Released) driver.Request {
	req := drill
	req.Step = ""
	req = fresh(req, model.ActionRelease)
	req.Released = &what
	return req
}

// releaseTwice releases a drill that is done: with one token twice, then with another one.
func (s *suite) releaseTwice(t tee, drill driver.Request, h driver.Handle, outputs map[string]model.Value) {
	req := s.released(t, drill, driver.Released{Handle: h, Outputs: outputs})
	s.left(t, drill)
	req.Resumed = true
	if got := s.await(t, req, s.begin(t, s.New(), req)); got.State != driver.Done {
		t.Errorf("the same release again is %s: %v", got.State, got.Err)
	}
	s.released(t, drill, driver.Released{Handle: h, Outputs: outputs})
	s.released(t, drill, driver.Released{})
	s.left(t, drill)
}

// released releases a drill and waits until it is done.
func (s *suite) released(t tee, drill driver.Request, what driver.Released) driver.Request {
	t.Helper()
	what.Step, what.Token = drill.Step, drill.Token
	req := undo(drill, what)
	h := s.begin(t, s.New(), req)
	s.handle(t, &h)
	if got := s.await(t, req, h); got.State != driver.Done {
		t.Fatalf("release of %s is %s: %v", drill.Token, got.State, got.Err)
	}
	return req
}

func (s *suite) left(t tee, drill driver.Request) {
	t.Helper()
	if s.Left == nil {
		return
	}
	if left := s.Left(t, drill.Token); len(left) > 0 {
		t.Errorf("the release has left behind: %v", left)
	}
}

// cleanUp releases a drill that another check made.
func (s *suite) cleanUp(t tee, req driver.Request) {
	t.Helper()
	if req.Action == model.ActionDrill && s.can(model.ActionRelease) {
		s.released(t, req, driver.Released{})
	}
}
