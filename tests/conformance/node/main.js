// Runs the program of a row: node main.js ROW FORM.
'use strict';

const [row, form] = process.argv.slice(2);

require(`./${row}.js`)(form).catch((error) => {
  process.stderr.write(`${error.stack}\n`);
  process.exitCode = 2;
});
