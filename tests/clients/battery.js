// Runs a battery of batches with tedious; prints one JSON list, an entry for each batch.
// Arguments: host port password directory-of-node_modules file-of-batches
const [host, port, password, modules, file] = process.argv.slice(2);
const { Connection, Request } = require(modules + '/tedious');
const batches = JSON.parse(require('fs').readFileSync(file, 'utf8'));
const connection = new Connection({
  server: host,
  authentication: { type: 'default', options: { userName: 'sa', password } },
  options: { port: Number(port), encrypt: false, requestTimeout: 200000, connectTimeout: 60000 },
});
const seen = [];
let now = [];
for (const name of ['infoMessage', 'errorMessage']) {
  connection.on(name, (m) => now.push([name, m.number, m.class, m.state, m.message, m.lineNumber]));
}

function run(index) {
  if (index === batches.length) {
    console.log(JSON.stringify(seen));
    connection.close();
    return;
  }
  now = [];
  const request = new Request(batches[index], (error, count) => {
    now.push(['end', error ? [error.number, error.message] : null, count]);
    seen.push(now);
    run(index + 1);
  });
  request.on('columnMetadata', (columns) => now.push(['columns', columns.map((c) => [c.colName, c.type.name])]));
  request.on('row', (columns) => now.push(['row', columns.map((c) => c.value)]));
  for (const name of ['done', 'doneInProc', 'doneProc']) {
    request.on(name, (count, more) => now.push([name, count === undefined ? null : count, more]));
  }
  connection.execSqlBatch(request);
}

connection.connect((error) => {
  if (error) {
    console.error(error.message);
    process.exit(1);
  }
  run(0);
});
