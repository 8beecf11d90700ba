package elasticache

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/elasticache/types"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awstest/awsmodel"
	"github.com/lifeboat-dr/lifeboat/model"
)

// TestGroupStates judges a group in every state that AWS documents, and in one that it does not: what serves is enough, what fails is an
// error, and all else is waited for by its name.
func TestGroupStates(t *testing.T) {
	for _, state := range append([]string{awsmodel.Tomorrow}, awsmodel.States("ReplicationGroup.Status")...) {
		for _, shard := range append([]string{awsmodel.Tomorrow}, awsmodel.States("NodeGroup.Status")...) {
			c := &cache{ReplicationGroup: types.ReplicationGroup{ReplicationGroupId: aws.String("g"), Status: aws.String(state), NodeGroups: []types.NodeGroup{
				{Status: aws.String(shard), PrimaryEndpoint: &types.Endpoint{Address: aws.String("g.test"), Port: aws.Int32(6379)}}}}}
			seen, wait := coming(c)
			said := seen.Phase
			if seen.Err != nil {
				said = seen.Err.Error()
			}
			var want driver.State
			switch {
			case state == createFailed:
				want = driver.Failed
			case (state == available || state == snapshotting) && shard == available:
			default:
				want = driver.Pending
			}
			if wait != (want != "") || seen.State != want || want == driver.Pending && !strings.Contains(said, state) {
				t.Errorf("%s with a shard that is %s: %s, %t: %s; want %q", state, shard, seen.State, wait, said, want)
			}
		}
	}
}

// TestDatastoreStates judges a planned fence in every state of a datastore: the old primary is one no more, and while AWS is at it that is
// waited for by its name.
func TestDatastoreStates(t *testing.T) {
	bubble(t, func(t *testing.T, s *scene) {
		req := s.datastore(t, model.ActionFence, "east")
		old, err := s.d.member(t.Context(), req.Target, "east")
		must(t, err)
		to, err := s.d.member(t.Context(), req.Target, "west")
		must(t, err)
		for _, state := range append([]string{awsmodel.Tomorrow}, awsmodel.States("GlobalReplicationGroup.Status")...) {
			v, err := to.look(t.Context())
			must(t, err)
			v.Status = aws.String(state)
			for i := range v.Members {
				v.Members[i].Role = aws.String("SECONDARY")
				if aws.ToString(v.Members[i].ReplicationGroupId) == to.group && aws.ToString(v.Members[i].ReplicationGroupRegion) == to.session.Region() {
					v.Members[i].Role = aws.String("PRIMARY")
				}
			}
			req.Mode = model.Planned
			seen, want := v.fenced(req, old, to, handle{}), driver.Pending
			if state == available || state == primaryOnly {
				want = driver.Done
			}
			if seen.State != want || want == driver.Pending && !strings.Contains(seen.Phase, state) {
				t.Errorf("%s: %s: %s; want %s", state, seen.State, seen.Phase, want)
			}
		}
	})
}
