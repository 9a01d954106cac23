// The words that travel with a bundle. Its commands are run by a test, with the shell and the programs they name.
import { bundleFiles as files } from './bundle-files.ts';

export interface ReadmeFacts {
  run: string;
  commit: string;
  keyId: string;
  isDataLeftOut: boolean;
}

export function readmeText({ run, commit, keyId, isDataLeftOut }: ReadmeFacts): Buffer {
  return Buffer.from(`# ${run}

This is everything that run ${run} was made from and everything it made, at commit
${commit}. \`${files.manifest}\` lists it. \`${files.statement}\` is an in-toto statement
with a SLSA provenance predicate about it, signed with the Ed25519 key ${keyId}.
${isDataLeftOut ? '\nThe data is left out: its digests are in the manifest, its lists of files and queries are here.\n' : ''}
With Assay's command line, which needs no server for it:

    assay verify FILE.tar --key KEY.pem

Without it, in the folder into which the archive was unpacked, with GNU coreutils and OpenSSL 3:

\`\`\`sh
# 1. Every file is as it was packed.
sha256sum --check --quiet --strict ${files.sums}
# 2. The signature holds for exactly the bytes of ${files.pae}.
openssl pkeyutl -verify -rawin -pubin -inkey ${files.publicKey} -in ${files.pae} -sigfile ${files.signature}
# 3. These bytes end with the statement.
tail -c "$(wc -c < ${files.statement})" ${files.pae} | cmp - ${files.statement}
# 4. The statement names the manifest, the source and the lock by their digests.
for file in ${files.manifest} ${files.source} ${files.lock}; do
  grep -q "$(sha256sum < $file | cut -c -64)" ${files.statement} && echo "$file is the one that was signed"
done
# 5. Whose key it is: this has to print ${keyId},
#    and the server has to list it: https://SERVER/api/v1/keys
openssl pkey -pubin -in ${files.publicKey} -outform DER | sha256sum
\`\`\`

| Files | Hold |
|---|---|
| \`${files.source}\`, \`${files.patch}\` | the commit's tree; what was changed on top of it, for a run with uncommitted changes |
| \`${files.lock}\`, \`${files.wheels}\`, \`wheels/\` | every package pinned by hash; the files this allows; those that no index has |
| \`queries/\`, \`data/\` | each query; its result as Parquet, the files of each dataset and their list |
| \`${files.params}\`, \`${files.metrics}\` | what the run was given, what it measured |
| \`logs/STEP/ATTEMPT.log\` | what each attempt printed; 0 is a step of the platform |
| \`artifacts/STEP/\` | every file that the run keeps |
| \`${files.envelope}\` | statement and signature as one DSSE envelope |
| \`${files.index}\` | path, size and sha256 of every file but itself and \`${files.sums}\` |
`);
}
