// Drives tedious through what its users rely on; prints one JSON object.
// Arguments: host port password encrypt(true|false) directory-of-node_modules
const [host, port, password, encrypt, modules] = process.argv.slice(2);
const { Connection, Request, TYPES } = require(modules + '/tedious');

function open(pass) {
  return new Promise((resolve, reject) => {
    const connection = new Connection({
      server: host,
      authentication: { type: 'default', options: { userName: 'sa', password: pass } },
      options: { port: Number(port), encrypt: encrypt === 'true', trustServerCertificate: true, database: 'master',
                 requestTimeout: 200000, connectTimeout: 60000 },
    });
    connection.connect((error) => (error ? reject(error) : resolve(connection)));
  });
}

function run(connection, sql, parameters = [], plain = false) {
  return new Promise((resolve, reject) => {
    const rows = [];
    const request = new Request(sql, (error) => (error ? reject(error) : resolve(rows)));
    for (const [name, type, value, options] of parameters) request.addParameter(name, type, value, options);
    request.on('row', (columns) => rows.push(columns.map((column) => column.value)));
    if (plain) connection.execSqlBatch(request); else connection.execSql(request);
  });
}

const text = (value) => {
  if (value === null) return null;
  if (Buffer.isBuffer(value)) return value.toString('hex');
  if (value instanceof Date) return value.toISOString();
  return String(value);
};

(async () => {
  const out = { types: {}, messages: [] };
  try {
    await open('wrong');
    out.wrong = 'connected';
  } catch (error) {
    out.wrong = error.message;
    out.wrongCode = error.code;
  }
  const connection = await open(password);
  connection.on('infoMessage', (info) => out.messages.push([info.number, info.message]));
  const cases = [
    ['bit', TYPES.Bit, [true, false]],
    ['tinyint', TYPES.TinyInt, [0, 255]],
    ['smallint', TYPES.SmallInt, [-32768, 32767]],
    ['int', TYPES.Int, [-2147483648, 2147483647]],
    ['bigint', TYPES.BigInt, ['-9223372036854775808', '9223372036854775807']],
    ['decimal(18,4)', TYPES.Decimal, [-12345.6789, 0.0001], { precision: 18, scale: 4 }],
    ['numeric(10,2)', TYPES.Numeric, [-99.99], { precision: 10, scale: 2 }],
    ['money', TYPES.Money, [1234.5678, -0.0001]],
    ['smallmoney', TYPES.SmallMoney, [214748.3647]],
    ['real', TYPES.Real, [1.5]],
    ['float', TYPES.Float, [0.1, -1.7976931348623157e308]],
    ['date', TYPES.Date, [new Date('0001-01-01T00:00:00Z'), new Date('9999-12-31T00:00:00Z')]],
    ['time(3)', TYPES.Time, [new Date('1970-01-01T23:59:59.999Z')], { scale: 3 }],
    ['datetime', TYPES.DateTime, [new Date('1753-01-01T00:00:00Z'), new Date('9999-12-31T23:59:59.997Z')]],
    ['smalldatetime', TYPES.SmallDateTime, [new Date('2079-06-06T23:59:00Z')]],
    ['datetime2(3)', TYPES.DateTime2, [new Date('2024-02-29T12:34:56.789Z')], { scale: 3 }],
    ['datetimeoffset(3)', TYPES.DateTimeOffset, [new Date('2024-02-29T12:34:56.789Z')], { scale: 3 }],
    ['char(5)', TYPES.Char, ['abcde']],
    ['varchar(100)', TYPES.VarChar, ['', 'plain']],
    ['nchar(4)', TYPES.NChar, ['äß€z']],
    ['nvarchar(100)', TYPES.NVarChar, ['', 'naïve 日本語 😀']],
    ['nvarchar(max)', TYPES.NVarChar, ['€'.repeat(100000)]],
    ['varchar(max)', TYPES.VarChar, ['y'.repeat(100000)]],
    ['binary(4)', TYPES.Binary, [Buffer.from([0, 1, 254, 255])]],
    ['varbinary(100)', TYPES.VarBinary, [Buffer.from([0])]],
    ['varbinary(max)', TYPES.VarBinary, [Buffer.alloc(200000, 7)]],
    ['uniqueidentifier', TYPES.UniqueIdentifier, ['6F9619FF-8B86-D011-B42D-00C04FC964FF']],
    ['text', TYPES.Text, ['some text']],
  ];
  for (const [type, js, values, options] of cases) {
    const pairs = [];
    for (const value of [...values, null]) {
      const rows = await run(connection, `DECLARE @t TABLE (v ${type} NULL); INSERT @t VALUES (@p); SELECT v FROM @t`,
                             [['p', js, value, options]]);
      pairs.push([text(value), text(rows[0][0])]);
    }
    out.types[type] = pairs;
  }
  out.parameterised = await run(connection, 'SELECT name FROM sys.databases WHERE name = @n', [['n', TYPES.NVarChar, 'MSDB']]);
  await run(connection, 'CREATE DATABASE acc_tedious', [], true);
  await run(connection, 'CREATE TABLE acc_tedious.dbo.t (id int PRIMARY KEY, v nvarchar(20))', [], true);
  await run(connection, "INSERT INTO acc_tedious.dbo.t VALUES (1, N'one'), (2, N'two')", [], true);
  out.messages = [];
  await run(connection, "BACKUP DATABASE acc_tedious TO DISK = N'acc_tedious.bak' WITH INIT, STATS = 10");
  out.backup = out.messages;
  await run(connection, 'DELETE FROM acc_tedious.dbo.t', [], true);
  out.deleted = await run(connection, 'SELECT COUNT(*) FROM acc_tedious.dbo.t', [], true);
  await run(connection, "RESTORE DATABASE acc_tedious FROM DISK = N'acc_tedious.bak' WITH REPLACE", [], true);
  out.restored = await run(connection, 'SELECT id, v FROM acc_tedious.dbo.t ORDER BY id', [], true);
  await run(connection, 'DROP DATABASE acc_tedious', [], true);
  delete out.messages;
  connection.close();
  console.log(JSON.stringify(out));
})().catch((error) => { console.error(error); process.exit(1); });
