package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// world is a Lifeboat in memory: it stands for the journal and the sites. Any number of fakeServices, each standing
// for one process, work on one world; runs outlive them.
type world struct {
	mu      sync.Mutex
	changed chan struct{} // closed and replaced at each change
	now     time.Time     // ticks by a second with each event
	runs    []*fakeRun    // oldest first
	keys    map[string]model.RunID
	signals map[string]bool
	sent    []api.SignalRequest
	starts  []api.StartRequest

	// What tests set.
	steps    []model.Step                   // of every plan
	script   map[model.StepID][]string      // outcome of each attempt: "done" (also when used up), "fail TEXT", "hold"
	findings []model.Finding                // of every plan
	fails    map[string]error               // by method name
	rounds   []*api.ProtectRound            // of Protect
	apps     []model.AppID                  //
	shifts   bool                           // every plan is another one
	held     map[model.StepID]chan struct{} // of steps that hold
}

type fakeRun struct {
	view     api.RunView
	plan     *model.Plan
	inbox    []api.SignalRequest
	paused   bool
	attempts map[model.StepID]int
}

func newWorld() *world {
	return &world{
		changed: make(chan struct{}), now: time.Date(2026, 3, 1, 3, 0, 0, 0, time.UTC),
		keys: map[string]model.RunID{}, signals: map[string]bool{}, script: map[model.StepID][]string{},
		fails: map[string]error{}, apps: []model.AppID{"shop"}, held: map[model.StepID]chan struct{}{},
		steps: []model.Step{
			{ID: "fence-db", Title: "fence db at east", Action: model.ActionFence, Kind: "postgres", Site: "east",
				Effect: "stops the server", Destructive: true, Waiver: model.Unfenced},
			{ID: "promote-db", Title: "promote db at west", Action: model.ActionPromote, Kind: "postgres", Site: "west",
				Effect: "makes the standby the primary", Needs: []model.StepID{"fence-db"}, Outage: true},
			{ID: "switch-name", Title: "move name to west", Action: model.ActionRedirect, Kind: "dns.record", Site: "west",
				Effect: "changes one record", Needs: []model.StepID{"promote-db"}, Outage: true},
		},
	}
}

// tick moves the clock and wakes whoever waits. The lock is held.
func (w *world) tick() time.Time {
	w.now = w.now.Add(time.Second)
	close(w.changed)
	w.changed = make(chan struct{})
	return w.now
}

// clock is Deps.Now.
func (w *world) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

// open makes a service, as a process of its own would.
func (w *world) open(owner string) *fakeService {
	ctx, cancel := context.WithCancel(context.Background())
	return &fakeService{w: w, owner: owner, ctx: ctx, cancel: cancel}
}

// release lets a step that holds go on.
func (w *world) release(step model.StepID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	close(w.hold(step))
}

func (w *world) hold(step model.StepID) chan struct{} {
	if w.held[step] == nil {
		w.held[step] = make(chan struct{})
	}
	return w.held[step]
}

// await blocks until some run has a step of that status, and gives the run.
func (w *world) await(ctx context.Context, step model.StepID, status api.StepStatus) (model.RunID, error) {
	for {
		w.mu.Lock()
		changed := w.changed
		for _, r := range w.runs {
			for _, s := range r.view.Steps {
				if s.ID == step && s.Status == status {
					w.mu.Unlock()
					return r.view.ID, nil
				}
			}
		}
		w.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return "", fmt.Errorf("step %s never became %s", step, status)
		}
	}
}

func (w *world) find(id model.RunID) (*fakeRun, error) {
	var found []*fakeRun
	for _, r := range slices.Backward(w.runs) {
		if id == "last" {
			return r, nil
		}
		if strings.HasPrefix(string(r.view.ID), strings.ToUpper(string(id))) {
			found = append(found, r)
		}
	}
	switch len(found) {
	case 0:
		return nil, failure.New(failure.NotFound, "find run", string(id), "there is no such run").WithHint("lifeboat run list")
	case 1:
		return found[0], nil
	}
	return nil, failure.New(failure.Invalid, "find run", string(id), "%d runs begin like this", len(found)).WithHint("type more of it")
}

type fakeService struct {
	w      *world
	owner  string
	ctx    context.Context
	cancel context.CancelFunc
	group  sync.WaitGroup
}

var _ api.Service = (*fakeService)(nil)

func (s *fakeService) fail(ctx context.Context, method string) error {
	if ctx.Err() != nil {
		return failure.Wrap(ctx.Err(), strings.ToLower(method), "")
	}
	return s.w.fails[method]
}

func (s *fakeService) Plan(ctx context.Context, req api.PlanRequest) (*api.PlanReply, error) {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	if err := s.fail(ctx, "Plan"); err != nil {
		return nil, err
	}
	name := string(req.Operation) + " " + string(req.App)
	if req.Operation == model.OpCustom {
		if name = req.Custom; name != "move-everything" && req.Payload == nil {
			return nil, failure.New(failure.NotFound, "find plan", name, "there is no such plan").WithHint("plans: move-everything")
		}
	} else if !slices.Contains(s.w.apps, req.App) {
		return nil, failure.New(failure.NotFound, "find app", string(req.App), "there is no such app").WithHint("apps: %s", s.w.apps)
	}
	plan := &model.Plan{Format: 1, Name: name, App: req.App, Operation: req.Operation, Mode: req.Mode, From: "east", To: "west"}
	if req.To != "" {
		plan.To = req.To
	}
	if plan.Mode == "" && (req.Operation == model.OpFailover || req.Operation == model.OpFailback) {
		plan.Mode = model.Planned
	}
	if req.Operation == model.OpFailback {
		plan.From, plan.To = "west", "east"
	}
	if s.w.shifts {
		plan.Name += s.w.tick().String()
	}
	for _, step := range s.w.steps {
		step.App, step.Operation, step.Mode = plan.App, plan.Operation, plan.Mode
		plan.Steps = append(plan.Steps, step)
	}
	return &api.PlanReply{
		Plan: plan, Hash: plan.Hash(), Findings: append([]model.Finding{}, s.w.findings...),
		Prediction: api.Prediction{Basis: "no history"}, Sites: []model.Description{},
	}, nil
}

func (s *fakeService) Start(ctx context.Context, req api.StartRequest) (*api.RunView, error) {
	reply, err := s.Plan(ctx, req.PlanRequest)
	if err != nil {
		return nil, err
	}
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	if err := s.fail(ctx, "Start"); err != nil {
		return nil, err
	}
	if req.By == "" || req.Key == "" || req.Hash == "" {
		return nil, failure.New(failure.Internal, "start", "", "without a name, a key or a hash")
	}
	if req.Hash != reply.Hash {
		return nil, failure.New(failure.Conflict, "", "", "the plan is no longer the one that was shown")
	}
	s.w.starts = append(s.w.starts, req)
	id, known := s.w.keys[req.Key]
	if !known {
		id = model.RunID(fmt.Sprintf("%c1RUN%021d", 'A'+len(s.w.runs), len(s.w.runs)+1))
		s.w.keys[req.Key] = id
		r := &fakeRun{plan: reply.Plan, attempts: map[model.StepID]int{}}
		p := reply.Plan
		at := s.w.tick()
		r.view = api.RunView{RunSummary: api.RunSummary{
			ID: id, Name: p.Name, App: p.App, Operation: p.Operation, Mode: p.Mode, From: p.From, To: p.To,
			By: req.By, Started: at, Total: len(p.Steps),
		}, PlanHash: reply.Hash}
		for _, step := range p.Steps {
			r.view.Steps = append(r.view.Steps, api.StepView{
				ID: step.ID, Title: step.Title, Action: step.Action, Site: step.Site, Needs: step.Needs,
				Status: api.StepWaiting, Needed: step.Approvals, Outage: step.Outage,
			})
		}
		s.w.runs = append(s.w.runs, r)
	}
	r, _ := s.w.find(id)
	s.drive(r)
	return s.w.view(r), nil
}

func (s *fakeService) Drive(ctx context.Context, id model.RunID) error {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	if err := s.fail(ctx, "Drive"); err != nil {
		return err
	}
	r, err := s.w.find(id)
	if err != nil {
		return err
	}
	s.drive(r)
	return nil
}

// drive carries a run on in the background until it is over or the service closes, waiting in line for its owner.
func (s *fakeService) drive(r *fakeRun) {
	s.group.Go(func() {
		w := s.w
		w.mu.Lock()
		defer w.mu.Unlock()
		for r.view.Owner != "" {
			if !w.wait(s.ctx, nil) {
				return
			}
		}
		r.view.Owner = s.owner
		r.view.Epoch++
		w.tick()
		for !r.view.Final && s.ctx.Err() == nil {
			if w.act(r) {
				w.tick()
				continue
			}
			if !w.wait(s.ctx, w.holding(r)) {
				break
			}
		}
		r.view.Owner = ""
		w.tick()
	})
}

// wait gives the lock up until something changes; false means that ctx has ended.
func (w *world) wait(ctx context.Context, held <-chan struct{}) bool {
	changed := w.changed
	w.mu.Unlock()
	defer w.mu.Lock()
	select {
	case <-ctx.Done():
		return false
	case <-changed:
	case <-held:
	}
	return true
}

func (w *world) holding(r *fakeRun) <-chan struct{} {
	for _, st := range r.view.Steps {
		if st.Status == api.StepRunning {
			return w.hold(st.ID)
		}
	}
	return nil
}

// act does the next thing there is to do in a run; false: nothing. The lock is held.
func (w *world) act(r *fakeRun) bool {
	if len(r.inbox) > 0 {
		sig := r.inbox[0]
		r.inbox = r.inbox[1:]
		w.obey(r, sig)
		return true
	}
	if r.paused {
		return false
	}
	v := &r.view
	for i := range v.Steps {
		st := &v.Steps[i]
		switch st.Status {
		case api.StepDone, api.StepWaived, api.StepSkipped, api.StepCanceled:
			continue
		case api.StepAsking:
			return false
		case api.StepRunning:
			select {
			case <-w.hold(st.ID):
				w.end(v, st, api.StepDone)
				return true
			default:
				return false
			}
		}
		if len(st.Approvals) < st.Needed {
			was := st.Status
			st.Status = api.StepApproval
			return was != st.Status
		}
		st.Attempt++
		r.attempts[st.ID]++
		if st.Started == nil {
			at := w.now
			st.Started = &at
		}
		outcome := "done"
		if list := w.script[st.ID]; r.attempts[st.ID] <= len(list) {
			outcome = list[r.attempts[st.ID]-1]
		}
		switch text, failed := strings.CutPrefix(outcome, "fail "); {
		case failed:
			st.Status = api.StepAsking
			st.Err = failure.New(failure.Unavailable, string(st.Action), "db", "%s", text)
		case outcome == "hold":
			st.Status = api.StepRunning
		default:
			w.end(v, st, api.StepDone)
		}
		return true
	}
	w.over(v, api.Succeeded)
	return true
}

func (w *world) end(v *api.RunView, st *api.StepView, status api.StepStatus) {
	at := w.now
	st.Status, st.Ended, st.Err = status, &at, nil
	v.Done++
}

func (w *world) over(v *api.RunView, outcome api.Outcome) {
	at := w.now
	v.Final, v.Outcome, v.Ended = true, outcome, &at
}

func (w *world) obey(r *fakeRun, sig api.SignalRequest) {
	var st *api.StepView
	for i := range r.view.Steps {
		if r.view.Steps[i].ID == sig.Step {
			st = &r.view.Steps[i]
		}
	}
	switch sig.Signal {
	case api.Pause:
		r.paused = true
	case api.Resume:
		r.paused = false
	case api.Abort:
		for i := range r.view.Steps {
			if s := &r.view.Steps[i]; s.Status != api.StepDone {
				s.Status = api.StepCanceled
			}
		}
		w.over(&r.view, api.Aborted)
	case api.Retry:
		st.Status = api.StepWaiting
	case api.Approve:
		st.Approvals = append(st.Approvals, api.Approval{By: sig.By, At: w.now, Reason: sig.Reason})
	case api.Skip:
		st.Reason, st.By = sig.Reason, sig.By
		w.end(&r.view, st, api.StepSkipped)
	case api.Force:
		st.Reason, st.By = sig.Reason, sig.By
		w.end(&r.view, st, api.StepWaived)
	}
}

func (s *fakeService) Runs(ctx context.Context, req api.RunsRequest) ([]api.RunSummary, error) {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	if err := s.fail(ctx, "Runs"); err != nil {
		return nil, err
	}
	var list []api.RunSummary
	for _, r := range slices.Backward(s.w.runs) {
		if (req.App == "" || req.App == r.view.App) && !(req.Active && r.view.Final) {
			list = append(list, s.w.view(r).RunSummary)
		}
	}
	if req.Limit > 0 && len(list) > req.Limit {
		list = list[:req.Limit]
	}
	return list, nil
}

func (s *fakeService) Run(ctx context.Context, id model.RunID) (*api.RunView, error) {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	if err := s.fail(ctx, "Run"); err != nil {
		return nil, err
	}
	r, err := s.w.find(id)
	if err != nil {
		return nil, err
	}
	return s.w.view(r), nil
}

// view copies a run's view as of now. The lock is held.
func (w *world) view(r *fakeRun) *api.RunView {
	b, err := json.Marshal(r.view)
	if err != nil {
		panic(err)
	}
	var v api.RunView
	if err := json.Unmarshal(b, &v); err != nil {
		panic(err)
	}
	v.At = w.now
	v.Status = "running"
	for _, st := range v.Steps {
		switch st.Status {
		case api.StepAsking:
			v.Status = "asking"
		case api.StepApproval:
			v.Status = "waiting-approval"
		}
	}
	switch {
	case v.Final:
		v.Status = string(v.Outcome)
	case r.paused:
		v.Status = "paused"
	case v.Owner == "":
		v.Status = "unattended"
	}
	return &v
}

func (s *fakeService) Watch(ctx context.Context, id model.RunID) iter.Seq2[*api.RunView, error] {
	return func(yield func(*api.RunView, error) bool) {
		for {
			s.w.mu.Lock()
			err := s.fail(ctx, "Watch")
			r, findErr := s.w.find(id)
			if err != nil || findErr != nil {
				s.w.mu.Unlock()
				if err == nil {
					err = findErr
				}
				yield(nil, err)
				return
			}
			v, changed := s.w.view(r), s.w.changed
			s.w.mu.Unlock()
			if !yield(v, nil) || v.Final {
				return
			}
			select {
			case <-changed:
			case <-ctx.Done():
				yield(nil, failure.Wrap(ctx.Err(), "watch", string(id)))
				return
			}
		}
	}
}

func (s *fakeService) Signal(ctx context.Context, req api.SignalRequest) (*api.SignalReply, error) {
	w := s.w
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := s.fail(ctx, "Signal"); err != nil {
		return nil, err
	}
	r, err := w.find(req.Run)
	switch {
	case err != nil:
		return nil, err
	case req.By == "" || req.Key == "":
		return nil, failure.New(failure.Internal, "", "", "without a name or a key")
	case r.view.Final:
		return nil, failure.New(failure.Conflict, "", "", "the run is over: %s", r.view.Outcome)
	}
	want := map[api.Signal]api.StepStatus{
		api.Approve: api.StepApproval, api.Retry: api.StepAsking, api.Skip: api.StepAsking, api.Force: api.StepAsking,
	}[req.Signal]
	if want != "" {
		var waits []model.StepID
		for _, st := range r.view.Steps {
			if st.Status == want && (req.Step == "" || req.Step == st.ID) {
				waits = append(waits, st.ID)
				for _, a := range st.Approvals {
					if a.By == req.By {
						return nil, failure.New(failure.Denied, "", "", "%s has approved this already", a.By).WithHint("another person must")
					}
				}
			}
		}
		if len(waits) != 1 {
			return nil, failure.New(failure.Conflict, "", "", "no step of that name waits for this").WithHint("lifeboat run show %s", req.Run)
		}
		req.Step = waits[0]
	}
	if !w.signals[req.Key] {
		w.signals[req.Key] = true
		r.inbox = append(r.inbox, req)
		w.sent = append(w.sent, req)
		if req.Signal == api.Pause || req.Signal == api.Resume { // seen at once, also when nobody drives
			r.paused = req.Signal == api.Pause
		}
	}
	attended := r.view.Owner != ""
	w.tick()
	return &api.SignalReply{Run: req.Run, Step: req.Step, Attended: attended}, nil
}

func (s *fakeService) Report(ctx context.Context, id model.RunID) (*api.Report, error) {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	if err := s.fail(ctx, "Report"); err != nil {
		return nil, err
	}
	r, err := s.w.find(id)
	if err != nil {
		return nil, err
	}
	report := &api.Report{
		Format: 1, Run: *s.w.view(r), Plan: r.plan, OK: r.view.Outcome == api.Succeeded,
		RTO: api.Measure{Basis: "no probe"}, RPO: api.Measure{Basis: "no marker"}, Checks: []api.CheckResult{},
	}
	for _, st := range report.Run.Steps {
		if st.Status == api.StepWaived {
			report.Waived, report.OK = append(report.Waived, st), false
		}
		report.Events = append(report.Events, api.Event{Seq: int64(len(report.Events) + 1), Step: st.ID, Text: string(st.Status)})
	}
	return report, nil
}

func (s *fakeService) Status(ctx context.Context, app model.AppID) (*api.StatusReply, error) {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	if err := s.fail(ctx, "Status"); err != nil {
		return nil, err
	}
	if err := s.w.fails["Status "+string(app)]; err != nil {
		return nil, err
	}
	if !slices.Contains(s.w.apps, app) {
		return nil, failure.New(failure.NotFound, "find app", string(app), "there is no such app").WithHint("apps: %s", s.w.apps)
	}
	return &api.StatusReply{
		App: app, Serving: "east", Home: "east", Findings: s.w.findings,
		Resources: []model.Description{
			{Resource: "db", Site: "east", At: s.w.now, Role: model.RolePrimary, Healthy: true, Summary: "timeline 1"},
			{Resource: "db", Site: "west", At: s.w.now, Role: model.RoleStandby, Healthy: true, Sync: true, Summary: "timeline 1"},
		},
	}, nil
}

func (s *fakeService) Points(ctx context.Context, app model.AppID) (*api.PointsReply, error) {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	if err := s.fail(ctx, "Points"); err != nil {
		return nil, err
	}
	if app != "shop" {
		return &api.PointsReply{}, nil
	}
	return &api.PointsReply{
		Points: []model.Point{{ID: "p1", Resource: "db", Site: "west", At: s.w.now, Live: true, Summary: "standby"},
			{ID: "p2", Resource: "uploads", Site: "west", At: s.w.now, Summary: "in vault main"}},
		Ranges: []model.Range{{Resource: "db", From: "1/0/3000100", To: "1/0/5000000", FromTime: s.w.now, ToTime: s.w.now}},
	}, nil
}

func (s *fakeService) Protect(ctx context.Context, req api.ProtectRequest) iter.Seq2[*api.ProtectRound, error] {
	return func(yield func(*api.ProtectRound, error) bool) {
		if err := s.fail(ctx, "Protect"); err != nil {
			yield(nil, err)
			return
		}
		for _, r := range s.w.rounds {
			if !yield(r, nil) || req.Once {
				return
			}
		}
		<-ctx.Done()
		yield(nil, failure.Wrap(ctx.Err(), "protect", string(req.App)))
	}
}

func (s *fakeService) Close() error {
	s.cancel()
	s.group.Wait()
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	return s.w.fails["Close"]
}
