// A service in Node under Elastic's own agent, on both sides of the marketplace: it orders there, and it is the chain that
// settles what is ordered.
//
// Prints its URL, reads the marketplace's from its standard input, and ends with that.
'use strict';

const apm = require('elastic-apm-node');
const express = require('express');
const http = require('http');
const readline = require('readline');

let marketplace;
let blocks = 0;
// The trace headers that the chain was called with, by trace id.
const calls = new Map();

function post(url, headers, body) {
  return new Promise((resolve, reject) => {
    const request = http.request(url, { method: 'POST', headers: { 'content-type': 'application/json', ...headers } });
    request.on('error', reject);
    request.on('response', (response) => {
      const chunks = [];
      response.on('data', (chunk) => chunks.push(chunk));
      response.on('error', reject);
      response.on('end', () => {
        resolve({ status: response.statusCode, body: JSON.parse(Buffer.concat(chunks).toString()) });
      });
    });
    request.end(JSON.stringify(body));
  });
}

const app = express();
app.use(express.json());

app.post('/orders/:listing', async (request, response) => {
  response.set('x-trace-id', apm.currentTraceIds['trace.id']);
  const { buyer } = request.body;
  const url = `${marketplace}/market/listings/${request.params.listing}/purchase`;
  const bought = await post(url, { 'x-user-id': buyer }, { buyer });
  if (bought.status >= 500) {
    throw new Error(`the marketplace answered ${bought.status}`);
  }
  response.status(bought.status).json(bought.body);
});

app.use((request, _response, next) => {
  const { traceparent, tracestate } = request.headers;
  if (traceparent) {
    const trace = traceparent.split('-')[1];
    calls.set(trace, [...(calls.get(trace) ?? []), { method: request.method, traceparent, tracestate }]);
  }
  next();
});

app.get('/', (_request, response) => {
  response.status(204).end();
});

app.post('/', (request, response) => {
  const { id, params } = request.body;
  if (params.token_id.startsWith('revert-')) {
    throw new RangeError(`token ${params.token_id} is frozen`);
  }
  blocks += 1;
  response.json({ jsonrpc: '2.0', id, result: { tx_hash: `0x${blocks}`, block: blocks } });
});

app.get('/calls/:trace', (request, response) => {
  response.json(calls.get(request.params.trace) ?? []);
});

const server = app.listen(0, '127.0.0.1', () => console.log(`http://127.0.0.1:${server.address().port}`));
const input = readline.createInterface({ input: process.stdin });
input.on('line', (line) => {
  marketplace = line;
  console.log('ready');
});
input.on('close', () => process.exit());
