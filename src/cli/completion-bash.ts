/**
 * Completion for bash 3.2 and later, with bash only: the package bash-completion is not needed, typed text is never
 * evaluated, and where `omniserve complete` suggests nothing, the shell's own file names follow.
 *
 * In place of the script of `@bomb.sh/tab`, which evaluates the line (Tab after `"$(command)"` would run it) and
 * completes no files.
 */
export const BASH_COMPLETION = String.raw`# bash completion for omniserve
_omniserve() {
  local line value current words
  # Not -r: a backslash before a blank keeps a word together, as it does for the shell.
  read -d '' -a words <<< "\${COMP_LINE:0:COMP_POINT}"
  [[ \${COMP_LINE:0:COMP_POINT} == *[[:space:]] ]] && words+=('')
  current=\${words[\${#words[@]} - 1]}
  # Bash counts what follows the sign of equality as a word of its own.
  current=\${current##*=}
  COMPREPLY=()
  while IFS= read -r line; do
    value=\${line%%$'\t'*}
    [[ $line != :* && $value == "$current"* ]] && COMPREPLY+=("$(printf %q "$value")")
  done < <(omniserve complete -- "\${words[@]:1}" 2> /dev/null)
}
complete -o default -F _omniserve omniserve`.replaceAll(String.raw`\${`, '${')
