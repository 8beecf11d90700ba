package cli

import (
	"context"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/model"
)

func (s *fakeService) Doctor(ctx context.Context, req api.DoctorRequest, watch api.DoctorWatch) (*api.DoctorReply, error) {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	if err := s.fail(ctx, "Doctor"); err != nil {
		return nil, err
	}
	for _, over := range []bool{false, true} {
		watch(api.DoctorAsking{Site: "west", What: "quotas", Over: over})
	}
	reply := &api.DoctorReply{App: req.App, At: s.w.now, Serving: "east", Operations: []api.DoctorOperation{{Operation: model.OpDrill, Mode: model.Planned, From: "east", To: "west", Steps: 2}}, Findings: []api.Diagnosis{}}
	for _, f := range s.w.findings {
		reply.Findings = append(reply.Findings, api.Diagnosis{Finding: f, Operations: []string{"drill"}})
		if f.Severity == model.Block {
			reply.Blocked, reply.Operations[0].Blocks = true, reply.Operations[0].Blocks+1
		}
	}
	return reply, nil
}

func (s *fakeService) Policy(ctx context.Context, req api.PolicyRequest) (*api.PolicyReply, error) {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	if err := s.fail(ctx, "Policy"); err != nil {
		return nil, err
	}
	doc := func(call string) []api.PolicyDocument {
		return []api.PolicyDocument{{Version: "2012-10-17", Statement: []api.PolicyStatement{{Sid: "Lifeboat1", Effect: "Allow", Action: []string{call}, Resource: []string{"*"}}}}}
	}
	reply := &api.PolicyReply{App: req.App, Custom: req.Custom}
	operates := "rds:DeleteDBInstance"
	if req.Import && req.Payload != nil && req.Payload.Site == "west" {
		operates = "cloudformation:ListExports"
	}
	for _, site := range []model.SiteID{"east", "west"} {
		if req.Site == "" || req.Site == site {
			reply.Grants = append(reply.Grants, api.Grant{Holder: "the profile " + string(site), Account: "111111111111", Partition: "aws", Sites: []model.SiteID{site},
				Operate: doc(operates), Look: doc("rds:DescribeDBInstances")})
		}
	}
	return reply, nil
}
