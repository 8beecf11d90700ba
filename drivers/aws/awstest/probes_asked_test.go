package awstest_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// asked puts a call to a service whose client is not linked, and gives the code of its error, or "ok".
func (s *scene) asked(service, region, target, body string) string {
	cfg := s.cfg(region)
	at := "https://" + service + "." + region + ".amazonaws.com"
	if cfg.BaseEndpoint != nil {
		at = *cfg.BaseEndpoint
	}
	req, err := http.NewRequestWithContext(s.ctx, http.MethodPost, at+"/", strings.NewReader(body))
	if err != nil {
		return err.Error()
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if target != "" {
		req.Header.Set("Content-Type", "application/x-amz-json-1.1")
		req.Header.Set("X-Amz-Target", target)
	}
	creds, err := cfg.Credentials.Retrieve(s.ctx)
	if err != nil {
		return err.Error()
	}
	sum := sha256.Sum256([]byte(body))
	if err := v4.NewSigner().SignHTTP(s.ctx, creds, req, hex.EncodeToString(sum[:]), service, region, time.Now()); err != nil {
		return err.Error()
	}
	resp, err := cfg.HTTPClient.Do(req)
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode == http.StatusOK {
		return word("ok", err)
	}
	var said struct {
		Type string `json:"__type"`
		XML  string `json:"-" xml:"Error>Code"`
	}
	if json.Unmarshal(text, &said) != nil {
		_ = xml.NewDecoder(bytes.NewReader(text)).Decode(&said) // what is neither has no code
	}
	if code := said.Type + said.XML; code != "" {
		return code
	}
	return fmt.Sprintf("HTTP %d", resp.StatusCode)
}

// askedProbes are calls that examinations make.
func askedProbes() []probe {
	simulate := func(s *scene, arn string) string {
		return s.asked("iam", east, "", "Action=SimulatePrincipalPolicy&Version=2010-05-08&ActionNames.member.1=rds:CopyDBSnapshot&PolicySourceArn="+arn)
	}
	return []probe{
		{id: "kms-unknown", do: func(s *scene) string {
			return s.asked("kms", east, "TrentService.DescribeKey", `{"KeyId": "alias/nothing"}`)
		}, want: "NotFoundException"},
		{id: "kms-own", do: func(s *scene) string {
			return s.asked("kms", east, "TrentService.DescribeKey", `{"KeyId": "alias/aws/rds"}`)
		}, want: "ok", ministack: "NotFoundException", why: "the fake and moto: AWS's own keys are there from the start, or once they are used"},
		{id: "cache-quota", do: func(s *scene) string {
			return s.asked("servicequotas", east, "ServiceQuotasV20190624.GetServiceQuota", `{"ServiceCode": "elasticache", "QuotaCode": "L-DFE45DF3"}`)
		}, want: "ok", moto: "NoSuchResourceException", ministack: "HTTP 400", why: "the fake: the quota is documented; moto has quotas of networks only, and ministack none"},
		{id: "ec2-unknown-groups", do: func(s *scene) string {
			return s.asked("ec2", east, "", "Action=DescribeSecurityGroups&Version=2016-11-15&Filter.1.Name=group-id&Filter.1.Value.1=sg-0123456789abcdef0")
		}, want: "ok"},
		{id: "iam-simulate", do: func(s *scene) string { return simulate(s, "arn:aws:iam::"+theirs+":user/admin") }, want: "ok", moto: "HTTP 500", why: "the fake and ministack: moto has no policy simulator"},
		{id: "iam-simulate-unknown", do: func(s *scene) string { return simulate(s, "arn:aws:iam::"+theirs+":user/nobody") }, want: "NoSuchEntity", moto: "HTTP 500", ministack: "ok", why: "the fake: a user that does not exist has no policies"},
	}
}
