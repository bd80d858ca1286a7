/** `scm`, and what `scmGit` makes: a git repository and what to check out of it. */
class Scm {
    final List<Map> branches
    final List extensions
    final List<Map> userRemoteConfigs
    private final String base

    Scm(Map options) {
        branches = options.branches
        extensions = options.extensions
        userRemoteConfigs = options.userRemoteConfigs
        base = options.base
    }

    /** The job's own: of a branch; or, with `base`, of a change, which Jenkins merges on each agent. */
    static Scm ofJob(Map job) {
        new Scm(branches: [[name: job.branch]], extensions: [], userRemoteConfigs: [[url: job.url]], base: job.base)
    }

    Map checkout(Closure run) {
        def url = userRemoteConfigs[0].url
        run('git', 'init', '--quiet', '.')
        run('git', 'fetch', '--quiet', '--force', url, '+refs/heads/*:refs/remotes/origin/*')
        def wanted = branches[0].name.replaceFirst(/^(refs\/heads|\*|origin)\//, '')
        def isBranch = run('git', 'for-each-ref', '--format=%(refname)', "refs/remotes/origin/${wanted}".toString())
        def found = run('git', 'rev-parse', '--verify', '--end-of-options',
                        isBranch ? "refs/remotes/origin/${wanted}".toString() : "${wanted}^{commit}".toString())
        run('git', 'checkout', '--quiet', '--force', '--detach', found)
        if (base) {
            run('git', '-c', 'user.name=Jenkins', '-c', 'user.email=nobody@nowhere', 'merge', '--quiet', '--no-edit', base)
        }
        return [
            GIT_COMMIT: run('git', 'rev-parse', 'HEAD'), GIT_URL: url,
            GIT_BRANCH: isBranch ? "origin/${wanted}".toString() : 'detached',
        ]
    }
}
