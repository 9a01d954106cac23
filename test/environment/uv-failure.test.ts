import { expect, test } from 'vitest';
import { uvFailure } from '#environment/uv/uv-failure.ts';

const traceback = `Resolved 6 packages in 547ms
   Building scikit-learn==0.24.1
error: Failed to build \`scikit-learn==0.24.1\`
  cause: The build backend returned an error
  cause: Call to \`setuptools.build_meta.get_requires_for_build_wheel\` failed (exit status: 1)

         [stderr]
         Traceback (most recent call last):
           File "<string>", line 14, in <module>
             self.run_setup()
           File "<string>", line 17, in <module>
         ModuleNotFoundError: No module named 'pkg_resources'

hint: This error likely indicates that it depends on \`pkg_resources\`.

[tool.uv.extra-build-dependencies]
scikit-learn = ["pkg_resources"]
`;

test('of a build that fails with a traceback only the exception is told', () => {
  expect(uvFailure('requirements.txt', traceback, ['scikit-learn==0.24.1', 'joblib'])).toMatchObject({
    code: 'environment-unresolvable',
    message:
      "requirements.txt cannot be installed: Failed to build `scikit-learn==0.24.1`: ModuleNotFoundError: No module named 'pkg_resources'. Ask for a version that has a wheel for this Python, or install what its build needs, in a container by a base image that has it (`image:` or `dockerfile:`).",
    details: [{ path: 'scikit-learn==0.24.1' }],
  });
});

test('of a build that fails in its own words those are told', () => {
  const said =
    "error: Failed to build `sklearn==0.0`\n  cause: The build backend returned an error\n  cause: Call to `x.y` failed (exit status: 1)\n\n  [stderr]\n  use 'scikit-learn' rather than 'sklearn'\n";
  expect(uvFailure('requirements.txt', said).message).toContain(
    "Failed to build `sklearn==0.0`: use 'scikit-learn' rather than 'sklearn'.",
  );
});

test('of a long build the last errors of the compiler are told, after what failed', () => {
  const noise = Array.from({ length: 80 }, (_, n) => `         cc -O2 -c module${n}.c -o module${n}.o -Wall`).join(
    '\n',
  );
  const said = `error: Failed to build \`pyodbc==4.0\`
  cause: The build backend returned an error
  cause: Call to \`setuptools.build_meta.build_wheel\` failed (exit status: 1)

         [stdout]
${noise}
         [stderr]
         src/pyodbc.h:56:10: fatal error: sql.h: No such file or directory
         compilation terminated.
         error: command '/usr/bin/cc' failed with exit code 1
`;
  const { message } = uvFailure('requirements.txt', said, ['pyodbc==4.0']);
  expect(message).toMatch(/^requirements\.txt cannot be installed: Failed to build `pyodbc==4\.0`/);
  expect(message).toContain('fatal error: sql.h: No such file or directory');
  expect(message).toContain("error: command '/usr/bin/cc' failed");
  expect(message.length).toBeLessThan(1_000);
});
