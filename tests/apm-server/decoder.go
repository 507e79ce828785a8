package main

import (
	"context"
	"errors"
	"hash"
	"io"
	"net/http"
	"sync"

	"github.com/cespare/xxhash/v2"
	"github.com/elastic/apm-data/input/elasticapm"
	"github.com/elastic/apm-data/input/otlp"
	"github.com/elastic/apm-data/model/modeljson"
	"github.com/elastic/apm-data/model/modelpb"
	"github.com/elastic/apm-data/model/modelprocessor"
	"go.elastic.co/fastjson"
	"golang.org/x/sync/semaphore"
)

// The real server's defaults.
const (
	maxEventSize = 307200
	batchSize    = 10
)

// decoder turns intake and OTLP into documents.
type decoder struct {
	intake *elasticapm.Processor
	otlp   *otlp.Consumer
	chain  modelpb.BatchProcessor
}

// newDecoder writes documents to out, after the steps that the real server takes between decoding and indexing.
func newDecoder(out io.Writer) *decoder {
	chain := modelprocessor.Chained{
		modelprocessor.SetHostHostname{},
		modelprocessor.SetServiceNodeName{},
		modelprocessor.SetGroupingKey{NewHash: func() hash.Hash { return xxhash.New() }},
		modelprocessor.SetErrorMessage{},
		&modelprocessor.SetDataStream{Namespace: "default"},
		writer(out),
	}
	sem := semaphore.NewWeighted(16)
	return &decoder{
		intake: elasticapm.NewProcessor(elasticapm.Config{MaxEventSize: maxEventSize, Semaphore: sem}),
		otlp:   otlp.NewConsumer(otlp.ConsumerConfig{Processor: chain, Semaphore: sem}),
		chain:  chain,
	}
}

// writer writes each event as the line of JSON that is indexed.
func writer(out io.Writer) modelpb.BatchProcessor {
	var mu sync.Mutex
	return modelpb.ProcessBatchFunc(func(_ context.Context, batch *modelpb.Batch) error {
		mu.Lock()
		defer mu.Unlock()
		for _, event := range *batch {
			var w fastjson.Writer
			if err := modeljson.MarshalAPMEvent(event, &w); err != nil {
				return err
			}
			if _, err := out.Write(append(w.Bytes(), '\n')); err != nil {
				return err
			}
		}
		return nil
	})
}

// verdict is what the server says of a body; in its JSON form it is the body of the server's answer.
type verdict struct {
	Accepted int       `json:"accepted"`
	Errors   []refusal `json:"errors,omitempty"`

	// refused counts all refused lines, of which Errors names no more than five.
	refused int
	status  int
}

type refusal struct {
	Message  string `json:"message"`
	Document string `json:"document,omitempty"`
}

// decode reads one intake body.
func (d *decoder) decode(ctx context.Context, body io.Reader) verdict {
	var result elasticapm.Result
	streamErr := d.intake.HandleStream(ctx, &modelpb.APMEvent{}, body, batchSize, d.chain, &result)
	v := verdict{Accepted: result.Accepted, refused: result.Invalid + result.TooLarge, status: http.StatusAccepted}
	for _, err := range append(result.Errors, streamErr) {
		if err != nil {
			v.add(err)
		}
	}
	return v
}

// add names an error and raises the status: the sender's fault is a 400, everything else a 500.
func (v *verdict) add(err error) {
	status, r := http.StatusInternalServerError, refusal{Message: err.Error()}
	var invalid *elasticapm.InvalidInputError
	if errors.As(err, &invalid) {
		status, r = http.StatusBadRequest, refusal{Message: invalid.Message, Document: invalid.Document}
	}
	v.Errors = append(v.Errors, r)
	v.status = max(v.status, status)
}
