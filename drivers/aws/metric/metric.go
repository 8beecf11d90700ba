// Package metric reads what CloudWatch has measured of a resource: how far a replica is behind. It makes no alarms, keeps nothing,
// and never judges. Start with [Tell], or [ReadLag].
package metric

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch/types"

	"github.com/lifeboat-dr/lifeboat/drivers/aws/awsbase"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// Service is what CloudWatch is called in policies, in awsbase.Access.Endpoints and for awsbase.Session.Config.
const Service = "cloudwatch"

// every is how often AWS's own services publish (CloudWatch User Guide, "Basic monitoring").
const every = time.Minute

// recent is how old the last value of a metric that is still published can be: values come late.
const recent = 10 * time.Minute

// Series names one metric by where it is published.
type Series struct {
	Namespace, Name string
	// Dimensions are all that it is published under: CloudWatch does not add up over those that are left out.
	Dimensions map[string]string
	// Unit is what a value of 1 stands for.
	Unit time.Duration
}

// Lag is how far a replica was behind what it follows.
type Lag struct {
	// At begins the minute that it was measured in; Behind is the most in that minute.
	At     time.Time
	Behind time.Duration
	// Broken: nothing arrived, says a value of -1 (RDS User Guide, "Monitoring read replication").
	Broken bool
}

// Holds is an instant whose state the replica had reached, at the latest when the minute was over. It is zero for a broken one.
func (l Lag) Holds() time.Time {
	if l.Broken {
		return time.Time{}
	}
	return l.At.Add(-l.Behind)
}

// ReadLag reads the lags of the last minutes, newest first; none when nothing was published. Of several series, which may be the
// same metric under other dimensions, it takes those of the first that has values.
func ReadLag(ctx context.Context, s *awsbase.Session, of ...Series) ([]Lag, error) {
	now := time.Now()
	in := &cloudwatch.GetMetricDataInput{StartTime: aws.Time(now.Add(-recent).Truncate(every)), EndTime: aws.Time(now.Truncate(every)), ScanBy: types.ScanByTimestampDescending}
	for n, one := range of {
		in.MetricDataQueries = append(in.MetricDataQueries, query(n, one))
	}
	out, err := cloudwatch.NewFromConfig(s.Config(Service)).GetMetricData(ctx, in)
	if err != nil {
		return nil, failure.Wrap(err, "ask CloudWatch in", s.Name())
	}
	for n, one := range of {
		i := slices.IndexFunc(out.MetricDataResults, func(r types.MetricDataResult) bool { return aws.ToString(r.Id) == id(n) && len(r.Values) > 0 })
		if i < 0 {
			continue
		}
		var lags []Lag
		r := out.MetricDataResults[i]
		for k, value := range r.Values[:min(len(r.Values), len(r.Timestamps))] {
			lags = append(lags, Lag{At: r.Timestamps[k], Broken: value < 0, Behind: time.Duration(math.Max(0, value) * float64(one.Unit))})
		}
		return lags, nil
	}
	return nil, nil
}

func id(n int) string { return fmt.Sprintf("q%d", n) }

func query(n int, s Series) types.MetricDataQuery {
	m := &types.Metric{Namespace: &s.Namespace, MetricName: &s.Name}
	for name, value := range s.Dimensions {
		m.Dimensions = append(m.Dimensions, types.Dimension{Name: &name, Value: &value})
	}
	return types.MetricDataQuery{Id: aws.String(id(n)), MetricStat: &types.MetricStat{Metric: m, Period: aws.Int32(int32(every / time.Second)), Stat: aws.String("Maximum")}}
}

// Tell says in the description of a standby how far it is behind: the lag where it is known, and a fact in any case. One that is
// broken is not healthy. That CloudWatch cannot be asked takes nothing from the rest of the description.
func Tell(ctx context.Context, s *awsbase.Session, desc *model.Description, of ...Series) {
	lags, err := ReadLag(ctx, s, of...)
	said := ""
	switch {
	case err != nil:
		said = "not known: " + strings.Join(strings.Fields(err.Error()), " ")
	case len(lags) == 0:
		said = fmt.Sprintf("not known: CloudWatch has no %s of the last %s", of[0].Name, recent)
	case lags[0].Broken:
		desc.Healthy = false
		said = "nothing arrives, says CloudWatch of " + lags[0].At.UTC().Format(time.RFC3339)
	default:
		behind := model.Duration(lags[0].Behind)
		desc.LagTime = &behind
		said = fmt.Sprintf("%s at %s", lags[0].Behind, lags[0].At.UTC().Format(time.RFC3339))
	}
	desc.Facts = append(desc.Facts, model.Fact{Name: "lag", Value: said})
}
