// Package awsanswer reads what a server that speaks one of AWS's protocols said of a request, out of the errors of AWS's SDK.
//
// What an answer means, it does not say: that differs by service. Start with [Of].
package awsanswer

import (
	"errors"
	"net/http"

	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// Answer is a server's to a request that failed. The zero Answer: it said nothing.
type Answer struct {
	Code, Message string
	Status        int    // of HTTP; 0: it said nothing
	Request       string // its id for the request; empty: it gave none
}

// Of finds the answer in an error of the SDK.
func Of(err error) Answer {
	var a Answer
	var api smithy.APIError
	if errors.As(err, &api) {
		a.Code, a.Message = api.ErrorCode(), api.ErrorMessage()
	}
	if a.Code == "UnknownError" {
		a.Code = ""
	}
	var response *smithyhttp.ResponseError
	if errors.As(err, &response) && response.Response != nil {
		a.Status = response.HTTPStatusCode()
	}
	var identified interface{ ServiceRequestID() string }
	if errors.As(err, &identified) {
		a.Request = identified.ServiceRequestID()
	}
	return a
}

// String is the answer for people, without the request.
func (a Answer) String() string {
	switch {
	case a.Code != "" && a.Message != "" && a.Code != a.Message:
		return a.Code + ": " + a.Message
	case a.Code != "":
		return a.Code
	}
	return http.StatusText(a.Status)
}

// Unwrapped takes the SDK's layers off the error of a request that got no answer: their names tell people nothing.
func Unwrapped(err error) error {
	for {
		var op *smithy.OperationError
		var send *smithyhttp.RequestSendError
		switch {
		case errors.As(err, &send):
			err = send.Err
		case errors.As(err, &op):
			err = op.Err
		default:
			return err
		}
	}
}
