package awsmodel

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// says answers every request in the same way.
type says struct {
	status int
	body   string
	header http.Header
}

func (s says) Do(*http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	for k, v := range s.header {
		w.Header()[k] = v
	}
	w.WriteHeader(s.status)
	_, _ = io.WriteString(w, s.body)
	return w.Result(), nil
}

// asked is a request as the SDK signs it.
func asked(service, method, at, body string, header ...string) *http.Request {
	req := httptest.NewRequest(method, "https://"+service+".eu-west-1.amazonaws.com"+at, strings.NewReader(body))
	req.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=KEY/20260101/eu-west-1/"+service+"/aws4_request, SignedHeaders=host, Signature=0")
	for n := 0; n < len(header); n += 2 {
		req.Header.Set(header[n], header[n+1])
	}
	return req
}

func query(action string, params ...string) string {
	v := url.Values{"Action": {action}, "Version": {"x"}}
	for n := 0; n < len(params); n += 2 {
		v.Set(params[n], params[n+1])
	}
	return v.Encode()
}

func result(action, inner string) string {
	return "<" + action + "Response><" + action + "Result>" + inner + "</" + action + "Result><ResponseMetadata><RequestId>1</RequestId></ResponseMetadata></" + action + "Response>"
}

func refused(code string) string {
	return "<ErrorResponse><Error><Type>Sender</Type><Code>" + code + "</Code><Message>no</Message></Error></ErrorResponse>"
}

// TestWatch has what does not fit, in every protocol, be found, and what fits pass.
func TestWatch(t *testing.T) {
	describe := asked("rds", "POST", "/", query("DescribeDBInstances"))
	instance := func(inner string) says {
		return says{status: 200, body: result("DescribeDBInstances", "<DBInstances><DBInstance>"+inner+"</DBInstance></DBInstances>")}
	}
	tagged := func(params ...string) *http.Request {
		return asked("rds", "POST", "/", query("AddTagsToResource", append([]string{"ResourceName", "arn:aws:rds:eu-west-1:111111111111:db:x"}, params...)...))
	}
	done := says{status: 200, body: "<AddTagsToResourceResponse><ResponseMetadata/></AddTagsToResourceResponse>"}
	parameter := asked("ssm", "POST", "/", `{"Name":"/a"}`, "X-Amz-Target", "AmazonSSM.GetParameter")
	records := func(inner string) *http.Request {
		return asked("route53", "POST", "/2013-04-01/hostedzone/Z1/rrset/", "<ChangeResourceRecordSetsRequest><ChangeBatch><Changes><Change><Action>UPSERT</Action><ResourceRecordSet><Name>a.</Name><Type>A</Type>"+
			inner+"</ResourceRecordSet></Change></Changes></ChangeBatch></ChangeResourceRecordSetsRequest>")
	}
	changed := says{status: 200, body: "<ChangeResourceRecordSetsResponse><ChangeInfo><Id>/change/C1</Id><Status>PENDING</Status><SubmittedAt>2026-01-01T00:00:00Z</SubmittedAt></ChangeInfo></ChangeResourceRecordSetsResponse>"}
	subnets := func(names ...string) *http.Request {
		return asked("ec2", "POST", "/", query("DescribeSubnets", names...))
	}
	network := says{status: 200, body: "<DescribeSubnetsResponse><requestId>1</requestId><subnetSet><item><subnetId>subnet-1</subnetId><mapPublicIpOnLaunch>false</mapPublicIpOnLaunch></item></subnetSet></DescribeSubnetsResponse>"}
	metric := func(body []byte) says { return says{status: 200, body: string(body)} }
	data := asked("monitoring", "POST", "/service/GraniteServiceVersion20100801/operation/GetMetricData", "\xa0", "Smithy-Protocol", "rpc-v2-cbor")
	for _, test := range []struct {
		name   string
		req    *http.Request
		answer says
		want   string // a part of what is found; nothing is to be found without
	}{
		{"an instance", describe, instance("<DBInstanceIdentifier>a</DBInstanceIdentifier><DBInstanceStatus>storage-initialization</DBInstanceStatus><MultiAZ>true</MultiAZ><AllocatedStorage>20</AllocatedStorage><InstanceCreateTime>2026-01-01T00:00:00.000Z</InstanceCreateTime>"), ""},
		{"an unknown member", describe, instance("<Colour>red</Colour>"), "rds DescribeDBInstances: DBInstances[] has Colour, which is no member of DBInstance"},
		{"an unknown state", describe, instance("<DBInstanceStatus>sleeping</DBInstanceStatus>"), `DBInstanceStatus is "sleeping", none of DBInstance.DBInstanceStatus`},
		{"no boolean", describe, instance("<MultiAZ>yes</MultiAZ>"), "MultiAZ is no boolean"},
		{"no integer", describe, instance("<AllocatedStorage>20.5</AllocatedStorage>"), "AllocatedStorage is no integer"},
		{"no timestamp", describe, instance("<InstanceCreateTime>1767225600</InstanceCreateTime>"), "InstanceCreateTime is no timestamp"},
		{"wrong members of a list", describe, says{status: 200, body: result("DescribeDBInstances", "<DBInstances><member/></DBInstances>")}, "DBInstances is no list"},
		{"no result", describe, says{status: 200, body: "<DescribeDBInstancesResponse/>"}, "lacks DescribeDBInstancesResult"},
		{"a declared error", describe, says{status: 404, body: refused("DBInstanceNotFound")}, ""},
		{"the name of its type", describe, says{status: 404, body: refused("DBInstanceNotFoundFault")}, "is refused with DBInstanceNotFoundFault, which it does not declare"},
		{"another status", describe, says{status: 400, body: refused("DBInstanceNotFound")}, "status 400, not 404"},
		{"what all may say", describe, says{status: 400, body: refused("Throttling")}, ""},
		{"no operation", asked("rds", "POST", "/", query("DescribeEverything")), says{status: 200}, "is no operation"},
		{"tags", tagged("Tags.Tag.1.Key", "a", "Tags.Tag.1.Value", ""), done, ""},
		{"tags of another form", tagged("Tags.member.1.Key", "a"), done, "in the request Tags is no list"},
		{"a tag's value", tagged("Tags.Tag.1.Key", "a", "Tags.Tag.1.Value", "a, b"), done, "which is not as documented (RDS API Reference, Tag"},
		{"a long value", tagged("Tags.Tag.1.Key", "a", "Tags.Tag.1.Value", strings.Repeat("x", 257)), done, "has 257 characters"},
		{"no tags", tagged(), done, "lacks Tags, which AddTagsToResourceMessage needs"},
		{"what is refused anyway", tagged(), says{status: 400, body: refused("InvalidParameterValue")}, ""},
		{"a name", asked("rds", "POST", "/", query("CreateDBSnapshot", "DBSnapshotIdentifier", "a--b", "DBInstanceIdentifier", "a")), says{status: 200, body: result("CreateDBSnapshot", "")}, `DBSnapshotIdentifier is "a--b"`},
		{"JSON", parameter, says{status: 200, body: `{"Parameter":{"Name":"/a","Value":"b","LastModifiedDate":1767225600.5,"Version":1}}`}, ""},
		{"JSON with a time", parameter, says{status: 200, body: `{"Parameter":{"LastModifiedDate":"2026-01-01T00:00:00Z"}}`}, "LastModifiedDate is no timestamp"},
		{"JSON with a text", parameter, says{status: 200, body: `{"Parameter":{"Version":"1"}}`}, "Version is no long"},
		{"JSON's error", parameter, says{status: 400, body: `{"__type":"ParameterNotFound"}`}, ""},
		{"JSON's other error", parameter, says{status: 400, body: `{"__type":"NoParameter"}`}, "is refused with NoParameter"},
		{"a record", records("<TTL>60</TTL><ResourceRecords><ResourceRecord><Value>192.0.2.1</Value></ResourceRecord></ResourceRecords>"), changed, ""},
		{"a record without values", records("<ResourceRecords></ResourceRecords>"), changed, "ResourceRecords has 0 members, fewer than 1"},
		{"a record's weight", records("<Weight>256</Weight>"), changed, "Weight has 256 as its value, more than 255"},
		{"an answer that lacks something", records(""), says{status: 200, body: "<ChangeResourceRecordSetsResponse/>"}, "lacks ChangeInfo"},
		{"an error of its own", records(""), says{status: 400, body: "<InvalidChangeBatch><Messages/></InvalidChangeBatch>"}, ""},
		{"EC2", subnets("SubnetId.1", "subnet-1", "Filter.1.Name", "vpc-id", "Filter.1.Value.1", "vpc-1"), network, ""},
		{"EC2's lists", subnets("SubnetIds.1", "subnet-1"), network, "SubnetIds is no list"},
		{"EC2's members", subnets(), says{status: 200, body: "<DescribeSubnetsResponse><subnets/></DescribeSubnetsResponse>"}, "has subnets, which is no member"},
		{"CBOR", data, metric([]byte("\xa1\x68Messages\x80")), "lacks MetricDataQueries"},
		{"CBOR's members", data, metric([]byte("\xa1\x61a\x01")), "has a, which is no member of GetMetricDataOutput"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var found []string
			w := Watch(t, test.answer)
			w.tell = func(text string) { found = append(found, text) }
			sent, err := io.ReadAll(test.req.Body)
			if err != nil {
				t.Fatal(err)
			}
			test.req.Body = io.NopCloser(bytes.NewReader(sent))
			for range 2 { // what was said is not said again
				answer, err := w.Do(test.req)
				if err != nil {
					t.Fatal(err)
				}
				if body, err := io.ReadAll(answer.Body); err != nil || string(body) != test.answer.body {
					t.Errorf("the answer came through as %q, %v", body, err)
				}
			}
			test.req.Body = io.NopCloser(bytes.NewReader(sent))
			switch all := strings.Join(found, "\n"); {
			case test.want == "" && all != "":
				t.Errorf("found:\n%s", all)
			case !strings.Contains(all, test.want):
				t.Errorf("found:\n%s\nwant %s", all, test.want)
			}
			seen := map[string]int{}
			for _, text := range found {
				seen[text]++
			}
			for text, n := range seen {
				if n > 1 {
					t.Errorf("said %d times: %s", n, text)
				}
			}
			if w.Asked() != 2 {
				t.Errorf("%d exchanges were judged", w.Asked())
			}
		})
	}
}

// TestModels has every service's model be there, and every rule and state be of a member that there is.
func TestModels(t *testing.T) {
	w := Watch(t, says{})
	members := map[string]bool{}
	for name := range versions {
		s, err := w.models.service(name)
		if err != nil {
			t.Fatal(err)
		}
		for of, sh := range s.Shapes {
			for m := range sh.Members {
				members[of+"."+m] = true
			}
		}
	}
	var unknown []string
	for of := range rules {
		if !members[of] {
			unknown = append(unknown, of)
		}
	}
	for of := range states {
		if !members[of] || len(States(of)) == 0 {
			unknown = append(unknown, of)
		}
	}
	if diff := cmp.Diff([]string(nil), unknown); diff != "" {
		t.Errorf("of no model: %s", diff)
	}
}
