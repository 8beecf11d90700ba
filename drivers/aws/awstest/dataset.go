package awstest

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// write is something that an application wrote.
type write struct {
	at    time.Time
	value string
}

// dataset is what lies in a database: writes, oldest first. It stands for data, so that a test sees what a copy holds and what
// was lost.
type dataset struct{ writes []write }

// until is a copy of what was there at an instant.
func (d *dataset) until(at time.Time) dataset {
	var c dataset
	for _, w := range d.writes {
		if !w.at.After(at) {
			c.writes = append(c.writes, w)
		}
	}
	return c
}

// follow brings what source had at an instant.
func (d *dataset) follow(source *dataset, at time.Time) {
	if c := source.until(at); len(c.writes) > len(d.writes) {
		*d = c
	}
}

// replicaLag is how far replicas are behind, where no test says otherwise.
const replicaLag = time.Second

// lagging is a lag since an instant.
type lagging struct {
	since time.Time
	by    time.Duration
}

// Lag sets how far a replica is behind its source from now on: an instance, a cluster or a replication group of a global one, by
// ARN. A negative d breaks its replication: nothing reaches it any more.
func (w *World) Lag(arn string, d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.settle()
	_, _, _ = w.holder(arn) // what had reached it by now has
	if w.lags == nil {
		w.lags = map[string][]lagging{}
	}
	w.lags[arn] = append(w.lags[arn], lagging{now, d})
}

// lagAt is how far a replica was behind at an instant.
func (w *World) lagAt(arn string, at time.Time) time.Duration {
	for _, l := range slices.Backward(w.lags[arn]) {
		if !l.since.After(at) {
			return l.by
		}
	}
	return replicaLag
}

// receive brings a replica what had reached it at an instant from what it follows.
func (w *World) receive(to, from *dataset, arn string, at time.Time) {
	if lag := w.lagAt(arn, at); lag >= 0 {
		to.follow(from, at.Add(-lag))
	}
}

// holder is what keeps data: an instance or a cluster.
func (w *World) holder(arn string) (data *dataset, writable error, err error) {
	_, service, in, acct, resource := splitARN(arn)
	if service != "rds" {
		return nil, nil, fmt.Errorf("%s holds no data that awstest keeps", arn)
	}
	r := w.region(acct, in)
	if name, ok := strings.CutPrefix(resource, "cluster:"); ok {
		cl, err := r.cluster(name)
		if err != nil {
			return nil, nil, err
		}
		w.replicate(cl)
		return &cl.data, cl.writable(), nil
	}
	i, err := r.instance(arn)
	if err != nil {
		return nil, nil, err
	}
	now := w.opts.Now()
	switch {
	case i.source != nil:
		if !i.source.gone {
			w.receive(&i.data, &i.source.data, arn, now)
		}
		return &i.data, fmt.Errorf("%s is a replica: read only", arn), nil
	case i.Endpoint == nil || i.DBInstanceStatus == "rebooting" || i.DBInstanceStatus == "deleting" || i.DBInstanceStatus == "failed":
		return &i.data, fmt.Errorf("%s is %s: no connection", arn, i.DBInstanceStatus), nil
	}
	return &i.data, nil, nil
}

// Write lets an application write to a database, by the ARN of its instance or cluster. It is refused where a real one would
// refuse: replicas, and what is not up.
func (w *World) Write(arn, value string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.settle()
	d, closed, err := w.holder(arn)
	if err == nil {
		err = closed
	}
	if err != nil {
		return err
	}
	d.writes = append(d.writes, write{now, value})
	return nil
}

// Data is what a database holds, oldest first, by the ARN of its instance or cluster.
func (w *World) Data(arn string) ([]string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.settle()
	d, _, err := w.holder(arn)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, wr := range d.writes {
		out = append(out, wr.value)
	}
	return out, nil
}
