package pglog

import (
	"encoding/json"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/pgwal"
)

// The files of a receiver's folder that somebody on another host writes and reads.
const (
	ConfigFile = configFile // [Config.Encode]
	StateFile  = stateFile  // [DecodeState]
	DrainFile  = drainFile  // [EncodeDrain]
)

// Encode writes the configuration for ConfigFile.
func (c Config) Encode() ([]byte, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	text, err := json.MarshalIndent(c, "", " ")
	if err != nil {
		return nil, failure.WrapAs(failure.Internal, err, "write", configFile)
	}
	return text, nil
}

// DecodeState reads StateFile. Whether the receiver runs is not in it.
func DecodeState(text []byte) (State, error) {
	var s State
	if err := json.Unmarshal(text, &s); err != nil {
		return s, failure.WrapAs(failure.Corrupt, err, "understand", stateFile)
	}
	return s, nil
}

// EncodeDrain writes what [Drain] asks for.
func EncodeDrain(to pgwal.LSN) ([]byte, error) {
	text, err := json.Marshal(to)
	if err != nil {
		return nil, failure.WrapAs(failure.Internal, err, "write", drainFile)
	}
	return text, nil
}
