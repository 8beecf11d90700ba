package awstest

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// metricEvery is how often services publish; a minute's value is there when the minute is over.
const metricEvery = time.Minute

func metricActions() map[string]action {
	return map[string]action{
		"GetMetricData": {"MetricDataQueries! StartTime! EndTime! ScanBy MaxDatapoints", getMetricData},
	}
}

// metricTakes are the parts of a query that are modelled, without what lies below a dimension.
var metricTakes = []string{"Id", "Label", "ReturnData", "MetricStat.Metric.Namespace", "MetricStat.Metric.MetricName", "MetricStat.Period", "MetricStat.Stat", "MetricStat.Unit"}

// getMetricData answers for the lag of replicas, which [World.Lag] sets. A metric that is not published has no values, as with
// CloudWatch; what was published of a replica is forgotten with its role.
func getMetricData(c *call) (any, error) {
	from, err := c.p.when("StartTime")
	if err != nil {
		return nil, err
	}
	to, err := c.p.when("EndTime")
	if err != nil {
		return nil, err
	}
	if !from.Before(to) {
		return nil, refuse("InvalidParameterValue", "The parameter StartTime must be less than the parameter EndTime.")
	}
	results := []any{}
	for _, q := range c.p.members("MetricDataQueries") {
		dimensions := map[string]string{}
		for name, value := range q {
			if rest, ok := strings.CutPrefix(name, "MetricStat.Metric.Dimensions.member."); ok {
				if n, isName := strings.CutSuffix(rest, ".Name"); isName {
					dimensions[value] = q["MetricStat.Metric.Dimensions.member."+n+".Value"]
				}
			} else if !slices.Contains(metricTakes, name) {
				return nil, &apiError{http.StatusNotImplemented, "NotImplemented", "awstest does not model MetricDataQueries." + name}
			}
		}
		period, err := strconv.Atoi(q["MetricStat.Period"])
		if err != nil || time.Duration(period)*time.Second != metricEvery {
			return nil, &apiError{http.StatusNotImplemented, "NotImplemented", "awstest keeps values of 60 seconds"}
		}
		at, values := c.measured(q["MetricStat.Metric.Namespace"], q["MetricStat.Metric.MetricName"], dimensions, from.Truncate(metricEvery), to)
		if c.p.str("ScanBy") != "TimestampAscending" {
			slices.Reverse(at)
			slices.Reverse(values)
		}
		results = append(results, map[string]any{"Id": q["Id"], "Label": q["MetricStat.Metric.MetricName"], "Timestamps": at, "Values": values, "StatusCode": "Complete"})
	}
	return map[string]any{"MetricDataResults": results, "Messages": []any{}}, nil
}

// measured are the values of a metric, of each minute that is over.
func (c *call) measured(namespace, metric string, dimensions map[string]string, from, to time.Time) (at, values []any) {
	arn, since, unit, broken := c.published(namespace, metric, dimensions)
	if arn == "" {
		return []any{}, []any{}
	}
	at, values = []any{}, []any{}
	for t := from; t.Before(to) && !t.Add(metricEvery).After(c.now); t = t.Add(metricEvery) {
		if t.Before(since) {
			continue
		}
		lag := c.w.lagAt(arn, t.Add(metricEvery/2))
		value := float64(lag) / float64(unit)
		if lag < 0 || broken {
			value = -1
		}
		at, values = append(at, t), append(values, value)
	}
	return at, values
}

// published finds what a metric is about: the ARN of a replica, since when it is one, the metric's unit, and whether nothing
// reaches it any more.
func (c *call) published(namespace, metric string, dimensions map[string]string) (arn string, since time.Time, unit time.Duration, broken bool) {
	if len(dimensions) != 1 {
		return "", since, 0, false
	}
	switch namespace + " " + metric {
	case "AWS/RDS ReplicaLag":
		if i, ok := c.r.rds.instances.get(dimensions["DBInstanceIdentifier"]); ok && i.source != nil && i.Endpoint != nil {
			return i.DBInstanceArn, i.up, time.Second, i.source.gone
		}
	case "AWS/RDS AuroraGlobalDBReplicationLag", "AWS/RDS AuroraGlobalDBRPOLag":
		if cl, ok := c.r.rds.clusters.get(dimensions["DBClusterIdentifier"]); ok && cl.secondary() {
			return cl.DBClusterArn, cl.created, time.Millisecond, false
		}
	case "AWS/ElastiCache GlobalDatastoreReplicationLag":
		for _, g := range c.r.cache.groups.all(c.now, 0) {
			if g.global != nil && g.global.primary != g && slices.Contains(g.MemberClusters, dimensions["CacheClusterId"]) {
				return g.ARN, time.Time{}, time.Second, false
			}
		}
	}
	return "", since, 0, false
}
