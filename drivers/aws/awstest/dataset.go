package awstest

import (
	"fmt"
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

// Lag sets how far a replica is behind its source: an instance, a cluster or a replication group of a global one, by ARN.
func (w *World) Lag(arn string, d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.lags == nil {
		w.lags = map[string]time.Duration{}
	}
	w.lags[arn] = d
}

func (w *World) lag(arn string) time.Duration {
	if d, ok := w.lags[arn]; ok {
		return d
	}
	return replicaLag
}

func (w *World) lagOf(i *dbInstance) time.Duration { return w.lag(i.DBInstanceArn) }

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
			i.data.follow(&i.source.data, now.Add(-w.lagOf(i)))
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
