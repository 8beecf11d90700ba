package emulator

import (
	"encoding/xml"
	"net/http"
	"strings"
	"testing"
)

// Subnets are two of a region's default network, for DB subnet groups. EC2's client is not linked for this one call.
func (at Endpoint) Subnets(t testing.TB, region string) []string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, at.URL, strings.NewReader("Action=DescribeSubnets&Version=2016-11-15"))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=test/20260301/"+region+"/ec2/aws4_request, SignedHeaders=host, Signature=none")
	resp, err := at.HTTP.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer struct {
		IDs []string `xml:"subnetSet>item>subnetId"`
	}
	if err := xml.NewDecoder(resp.Body).Decode(&answer); err != nil || len(answer.IDs) < 2 {
		t.Fatalf("subnets: %v %v", answer.IDs, err)
	}
	return answer.IDs[:2]
}
