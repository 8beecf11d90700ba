package awsbase

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/lifeboat-dr/lifeboat/failure"
)

// answerMax is how much of an answer is read.
const answerMax = 16 << 20

// Query asks a service that speaks AWS's Query protocol, for the few calls of services whose clients are not worth linking. The
// answer's XML is decoded into out, unless that is nil. Everything that the package comment says of calls holds for it.
func (s *Session) Query(ctx context.Context, service, version, action string, params url.Values, out any) error {
	form := url.Values{"Action": {action}, "Version": {version}}
	for name, values := range params {
		form[name] = values
	}
	header := http.Header{"Content-Type": {"application/x-www-form-urlencoded; charset=utf-8"}}
	return s.ask(ctx, service, action, header, []byte(form.Encode()), func(body []byte) error {
		if out == nil {
			return nil
		}
		return xml.Unmarshal(body, out)
	})
}

// JSON asks a service that speaks AWS's JSON 1.1 protocol; target is its name there, such as TrentService.
func (s *Session) JSON(ctx context.Context, service, target, action string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return failure.WrapAs(failure.Internal, err, action, service)
	}
	header := http.Header{"Content-Type": {"application/x-amz-json-1.1"}, "X-Amz-Target": {target + "." + action}}
	return s.ask(ctx, service, action, header, body, func(body []byte) error { return json.Unmarshal(body, out) })
}

// ask sends one call, with all that lies around calls.
func (s *Session) ask(ctx context.Context, service, action string, header http.Header, body []byte, decode func([]byte) error) error {
	a := &around{s: s, service: service, scope: s.base.scope(s, service)}
	at, region, err := s.endpointOf(service)
	if err != nil {
		return err
	}
	ctx = middleware.WithOperationName(ctx, action)
	err = a.call(ctx, func(ctx context.Context) error {
		return a.attempts(ctx, func(ctx context.Context) error {
			return s.send(ctx, at, region, service, header, body, decode)
		})
	})
	return failure.Wrap(err, action, service)
}

// send signs and sends a request once.
func (s *Session) send(ctx context.Context, at, region, service string, header http.Header, body []byte, decode func([]byte) error) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, at+"/", bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header = header.Clone()
	creds, err := s.creds.Retrieve(ctx)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(body)
	if err := v4.NewSigner().SignHTTP(ctx, creds, req, hex.EncodeToString(sum[:]), service, region, time.Now()); err != nil {
		return err
	}
	resp, err := s.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, answerMax))
	if err == nil && resp.StatusCode < 300 {
		err = decode(text)
	}
	if err == nil && resp.StatusCode < 300 {
		return nil
	}
	if resp.StatusCode >= 300 {
		code, message := refusal(text)
		err = &smithy.GenericAPIError{Code: code, Message: message}
	}
	return &smithyhttp.ResponseError{Response: &smithyhttp.Response{Response: resp}, Err: err}
}

// refusal is the code and the message of an error in any of AWS's protocols.
func refusal(text []byte) (code, message string) {
	var said struct {
		Type    string `json:"__type"`
		Message string `json:"message"`
		Capital string `json:"Message"`
	}
	if json.Unmarshal(text, &said) == nil {
		_, code, ok := strings.Cut(said.Type, "#")
		if !ok {
			code = said.Type
		}
		return code, said.Message + said.Capital
	}
	d := xml.NewDecoder(bytes.NewReader(text))
	for code == "" || message == "" {
		t, err := d.Token()
		if err != nil {
			break
		}
		if el, ok := t.(xml.StartElement); ok && (el.Name.Local == "Code" || el.Name.Local == "Message") {
			to := &code
			if el.Name.Local == "Message" {
				to = &message
			}
			if errors.Is(d.DecodeElement(to, &el), io.EOF) {
				break
			}
		}
	}
	return code, message
}

// suffixes are the domains of the partitions' endpoints (the SDK's partition table).
var suffixes = map[string]string{
	"aws": "amazonaws.com", "aws-cn": "amazonaws.com.cn", "aws-us-gov": "amazonaws.com", "aws-iso": "c2s.ic.gov", "aws-iso-b": "sc2s.sgov.gov",
	"aws-iso-e": "cloud.adc-e.uk", "aws-iso-f": "csp.hci.ic.gov", "aws-eusc": "amazonaws.eu",
}

// identities are where the partitions' IAM is, and the region that its requests are signed for (AWS General Reference, "IAM
// endpoints and quotas").
var identities = map[string]struct{ host, region string }{
	"aws": {"iam.amazonaws.com", "us-east-1"}, "aws-cn": {"iam.cn-north-1.amazonaws.com.cn", "cn-north-1"}, "aws-us-gov": {"iam.us-gov.amazonaws.com", "us-gov-west-1"},
}

// endpointOf is where a service is reached, and for which region requests to it are signed.
func (s *Session) endpointOf(service string) (at, region string, err error) {
	at, region = strings.TrimRight(s.access.at(service), "/"), s.Region()
	host := service + "." + region + "." + suffixes[s.partition]
	if service == "iam" {
		known, ok := identities[s.partition]
		if !ok && at == "" {
			return "", "", failure.New(failure.Unsupported, "", "iam", "where IAM is in the partition %s is not known", s.partition).WithHint("set endpoints.iam at the site")
		}
		host = known.host
		if ok {
			region = known.region
		}
	}
	if at == "" {
		at = "https://" + host
	}
	return at, region, nil
}
